"""The load client and the publisher as Python sees them: compiled programs that are told what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from benchmarks.child import Child
from benchmarks.contestant import Running
from benchmarks.native_build import program

_ANSWER_WAIT: Final = 30.0


@dataclass(frozen=True)
class Mark:
    """A load client's counts at one moment; latencies (ms) are of the events since the mark before.

    Attributes:
        ns: the moment, on the monotonic clock.
    """

    delivered: int
    ns: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class LoadClient(Child):
    """Many connections, spread evenly over `jobs` jobs from number `first_job` on."""

    def __init__(self, to: Running, clients: int, jobs: int, first_job: int = 1) -> None:
        self._clients = clients
        command = _command(to, clients, ["--jobs", str(jobs), "--first-job", str(first_job)])
        super().__init__("load client", command)

    def wait_until_subscribed(self) -> float:
        """Seconds it took until every client was subscribed."""
        seconds: float = self.answer("ready", 30 + self._clients / 100)["seconds"]
        return seconds

    def mark(self) -> Mark:
        """Where it is now."""
        self.order("mark")
        answer = self.answer("mark", _ANSWER_WAIT)
        return Mark(**{name: answer[name] for name in Mark.__dataclass_fields__})

    def missing(self, published: int, grace: float) -> int:
        """Events that have not arrived `grace` seconds after all were published; 0 is complete."""
        self.order(f"end {published} {int(grace * 1000)}")
        count: int = self.answer("end", grace + _ANSWER_WAIT)["missing"]
        return count


def cycles(to: Running, at_once: int, seconds: float) -> dict[str, Any]:
    """Open, subscribe, close, over and over; the load client's own account of it."""
    with Child("load client", _command(to, at_once, ["--cycle", str(seconds)])) as client:
        return client.answer("cycles", seconds + _ANSWER_WAIT)


def publisher(to: Running, *, jobs: int, rate: float, total: int) -> Child:
    """Starts at once; says `started`, and `published` when nats-server has taken all."""
    command = [str(program("publisher")), str(to.nats_port), "1", str(jobs), str(rate), str(total)]
    return Child("publisher", command)


def _command(to: Running, clients: int, more: list[str]) -> list[str]:
    command = [str(program("load_client")), "--dialect", to.dialect, "--port", str(to.port)]
    command += ["--target", to.target, "--first", to.first, "--clients", str(clients), "--sources", "8"]
    return [*command, *more]
