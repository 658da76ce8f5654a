"""The manifests of deploy/kubernetes: objects, the containers in them, and what a cluster would make of those."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
EXAMPLE: Final = FOLDER / "secrets.yaml.example"

_TEMPLATES: Final = (("spec", "template"), ("spec", "jobTemplate", "spec", "template"))

Object = dict[str, Any]


class Pods(NamedTuple):
    """What makes pods: the object, and the template of its pods."""

    owner: Object
    template: Object

    @property
    def name(self) -> str:
        return f"{self.owner['kind']}/{self.owner['metadata']['name']}"

    @property
    def labels(self) -> Mapping[str, str]:
        labels: dict[str, str] = self.template["metadata"]["labels"]
        return labels

    @property
    def spec(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def container(self) -> Object:
        """The only one that each has."""
        (container,) = self.spec["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def variables(self) -> dict[str, Object]:
        """Its environment, by name."""
        return {variable["name"]: variable for variable in self.container["env"]}

    def environment(self, pod: Mapping[str, str], **changed: str) -> dict[str, str]:
        """What a pod has in its environment: values, the example's secrets, and fields of the pod."""
        given: dict[str, str] = {}
        for name, variable in self.variables.items():
            value = variable.get("value")
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                value = secrets()[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
            elif "fieldRef" in source:
                value = pod[source["fieldRef"]["fieldPath"]]
            assert isinstance(value, str), name
            # Kubernetes puts in what stands before
            given[name] = re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], value)
        return {**given, **changed}


def objects() -> list[Object]:
    """All of them, those of the example too."""
    return [each for path in [*sorted(FOLDER.glob("*.yaml")), EXAMPLE] for each in read(path)]


def read(path: Path) -> Iterator[Object]:
    """The objects of one file."""
    return (each for each in yaml.safe_load_all(path.read_text("utf-8")) if each)


def one(kind: str, name: str) -> Object:
    """The object of that kind and name."""
    (found,) = [each for each in objects() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def of_kind(kind: str) -> list[Object]:
    """All of one kind."""
    return [each for each in objects() if each["kind"] == kind]


def all_pods() -> list[Pods]:
    """Whatever makes pods."""
    return [Pods(each, found) for each in objects() for path in _TEMPLATES if (found := _at(each, path))]


def pods(name: str) -> Pods:
    """As `Deployment/milepost`."""
    (found,) = [each for each in all_pods() if each.name == name]
    return found


def secrets() -> dict[str, dict[str, str]]:
    """The example's secrets, each with its keys."""
    return {each["metadata"]["name"]: each["stringData"] for each in read(EXAMPLE)}


def _at(value: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - whatever is there
    for step in path:
        value = value.get(step, {})
    return value
