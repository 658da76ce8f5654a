"""What a canvas's nodes are and which follows which, read out of the signatures that its messages carry (sans-I/O)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from itertools import islice, product
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

_MAX_NODES: Final = 100
_MAX_EDGES: Final = 200
"""Of a plan that is told: it goes along with a message."""

_MAX_NAME: Final = 120


class Plan(BaseModel):
    """A canvas's nodes `(id, name)` and edges, and what it is called."""

    model_config = ConfigDict(frozen=True)

    name: str
    nodes: tuple[tuple[str, str], ...] = ()
    edges: tuple[tuple[str, str], ...] = ()


class Drawing:
    """A signature as a graph."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}
        self.edges: list[tuple[str, str]] = []
        self.heads: list[str] = []
        self.tails: list[str] = []
        self.words = ""

    @classmethod
    def of_task(cls, task: str, name: str) -> Drawing:
        """One node."""
        it = cls()
        it.nodes[task] = name
        it.heads = it.tails = [task]
        it.words = name
        return it

    def then(self, other: Drawing) -> Drawing:
        """This, and the other when all of it is done."""
        both = Drawing()
        both.nodes = {**self.nodes, **other.nodes}
        # One too many, where there are too many: no plan is told then.
        crossing = list(islice(product(self.tails, other.heads), _MAX_EDGES + 1))
        both.edges = [*self.edges, *other.edges, *crossing]
        both.heads, both.tails = self.heads or other.heads, other.tails or self.tails
        both.words = " | ".join(filter(None, (self.words, other.words)))
        return both

    @classmethod
    def beside(cls, drawings: Iterable[Drawing]) -> Drawing:
        """All at the same time."""
        all_ = list(drawings)
        it = cls()
        for one in all_:
            it.nodes.update(one.nodes)
            it.edges += one.edges
            it.heads += one.heads
            it.tails += one.tails
        words = list(dict.fromkeys(one.words for one in all_))
        it.words = f"{len(all_)} x {words[0]}" if len(words) == 1 else f"({', '.join(words)})"
        return it

    @property
    def plan(self) -> Plan:
        """As it is told: of a large one only what it is called."""
        name = self.words if len(self.words) <= _MAX_NAME else f"{self.words[: _MAX_NAME - 1]}…"
        small = 0 < len(self.nodes) <= _MAX_NODES and len(self.edges) <= _MAX_EDGES
        return Plan(name=name, nodes=tuple(self.nodes.items()), edges=tuple(self.edges)) if small else Plan(name=name)


def drawn(signature: Any) -> Drawing:  # noqa: ANN401 - a signature, a list of them, or nothing
    """The graph of a signature, of several beside each other, or of none."""
    if not signature:
        return Drawing()
    if isinstance(signature, list | tuple):
        return Drawing.beside(map(drawn, signature))
    inner = signature.get("kwargs") or {}
    match signature.get("subtask_type"):
        case "chain":
            return functools.reduce(Drawing.then, map(drawn, inner["tasks"]))
        case "group":
            return drawn(list(inner["tasks"]))
        case "chord":
            return drawn(inner["header"]).then(drawn(inner["body"]))
        case _:
            return Drawing.of_task(str(signature["options"]["task_id"]), str(signature["task"]))


def plan_of_chain(headers: Mapping[str, Any], chain: list[Any]) -> Plan:
    """`chain`: what follows, the next last, as Celery keeps it."""
    first = Drawing.of_task(headers["id"], headers["task"])
    return functools.reduce(Drawing.then, map(drawn, reversed(chain)), first).plan
