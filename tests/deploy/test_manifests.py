"""The manifests are what Kubernetes takes, and what they name is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import kubernetes_validate
import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_hub.settings import HubSettings
from milepost_runner.settings import WorkerSettings
from pydantic import BaseModel

from milepost.options import Group, names
from milepost.serve import GROUPS
from milepost.worker import GROUPS as WORKER
from tests.deploy import manifest
from tests.deploy.manifest import Pods, all_pods, of_kind, one, pods
from tests.docs.block import ROOT

VERSIONS: Final = ("1.27", "1.37")
"""The oldest Kubernetes that has all that the manifests use, and the newest that the schemas know."""

PODS: Final = all_pods()
each_pods = pytest.mark.parametrize("made", PODS, ids=lambda made: made.name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("given", manifest.objects(), ids=lambda given: f"{given['kind']}-{given['metadata']['name']}")
def test_kubernetes_own_schema_takes_it(given: dict[str, Any], version: str) -> None:
    """Strictly: a field that there is none of is refused."""
    kubernetes_validate.validate(given, version, strict=True)


def test_a_misspelt_field_would_be_noticed() -> None:
    given = one("Deployment", "milepost")
    given["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 45
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(given, VERSIONS[-1], strict=True)


def test_everything_is_in_the_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    named = {given["metadata"].get("namespace") for given in manifest.objects() if given is not namespace}
    assert named - {None} == {namespace["metadata"]["name"]}
    assert [given["kind"] for given in manifest.objects() if "namespace" not in given["metadata"]] == ["Namespace"]


def variables(groups: Mapping[type[BaseModel], Group]) -> set[str]:
    return {name.variable for model, group in groups.items() for name in names(model, group).values()}


REPORTED: Final = {"NATS_URL", "NATS_USER", "NATS_PASSWORD", "MILEPOST_TENANT", "MILEPOST_JOB"}
"""What a job program has in its environment; test_cluster.py has one report with it."""

KNOWN: Final = {
    "Deployment/milepost": variables(GROUPS),
    "Deployment/worker-acme": variables(WORKER)
    | {"MILEPOST_TENANT", "MILEPOST_WORKER_HEALTH_HOST", "MILEPOST_WORKER_HEALTH_PORT"},
    "Job/names": REPORTED,
    "CronJob/names-nightly": REPORTED,
    # what the configuration in the ConfigMap names, what these are made of, and one of Go's
    "StatefulSet/nats": {
        *re.findall(r"\$([A-Z]+(?:_[A-Z]+)+)\b", "".join(one("ConfigMap", "nats-config")["data"].values())),
        "HUB_PASSWORD",
        "ACME_PASSWORD",
        "GOMEMLIMIT",
    },
}


@each_pods
def test_variables_are_those_of_what_is_run(made: Pods) -> None:
    assert set(made.variables) <= KNOWN[made.name]


def test_nats_has_all_that_its_configuration_asks_for() -> None:
    assert set(pods("StatefulSet/nats").variables) == KNOWN["StatefulSet/nats"]


@each_pods
def test_secrets_that_are_named_are_in_the_example(made: Pods) -> None:
    asked = [variable["valueFrom"]["secretKeyRef"] for variable in made.variables.values() if "valueFrom" in variable
             and "secretKeyRef" in variable["valueFrom"]]  # fmt: skip
    assert asked
    assert all(ref["key"] in manifest.secrets()[ref["name"]] for ref in asked)


def test_the_example_has_no_secrets_in_it() -> None:
    """And is not applied with the rest by accident."""
    values = [value for secret in manifest.secrets().values() for value in secret.values()]
    assert all(value.startswith("replace-me") for value in values)
    assert manifest.EXAMPLE.suffix == ".example"


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_what_is_selected_exists(kind: str) -> None:
    for given in of_kind(kind):
        spec = given["spec"]
        wanted = spec.get("podSelector", spec.get("selector", {}))
        wanted = wanted.get("matchLabels", wanted if kind == "Service" else {})
        assert [made for made in PODS if wanted.items() <= made.labels.items()], given["metadata"]["name"]


@each_pods
def test_an_owner_selects_its_own_pods(made: Pods) -> None:
    selector = made.owner["spec"].get("selector")
    if selector is not None:
        assert selector["matchLabels"].items() <= made.labels.items()


@each_pods
def test_ports_that_are_named_are_opened(made: Pods) -> None:
    """By probes, by services, by policies."""
    opened = {port["name"]: port["containerPort"] for port in made.container.get("ports", [])}
    probes = [made.container[probe]["httpGet"]["port"] for probe in made.container if probe.endswith("Probe")]
    assert set(probes) <= set(opened)
    for service in of_kind("Service"):
        if service["spec"]["selector"].items() <= made.labels.items():
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                assert target in opened or target in opened.values()
    for policy in of_kind("NetworkPolicy"):
        chosen = policy["spec"]["podSelector"].get("matchLabels")
        if chosen and chosen.items() <= made.labels.items():
            ports = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
            assert set(ports) <= set(opened)


def test_the_ingress_leads_to_a_service_s_port() -> None:
    (ingress,) = of_kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = one("Service", path["backend"]["service"]["name"])
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]


@each_pods
def test_whoever_uses_nats_is_let_in_there_and_finds_it(made: Pods) -> None:
    url = made.variables.get("NATS_URL")
    assert (url is not None) == (made.labels.get("nats-client") == "true")
    if url is not None:
        name, port = re.fullmatch(r"nats://([a-z-]+):(\d+)", url["value"]).groups()  # type: ignore[union-attr]
        assert int(port) in [each["port"] for each in one("Service", name)["spec"]["ports"]]


@each_pods
def test_each_runs_without_rights(made: Pods) -> None:
    assert made.spec["securityContext"]["runAsNonRoot"]
    assert made.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not made.spec["automountServiceAccountToken"]
    assert made.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert made.container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert made.container["resources"]["limits"].keys() == {"memory"}


@each_pods
def test_what_is_mounted_is_a_volume_of_the_pod(made: Pods) -> None:
    claims = [claim["metadata"]["name"] for claim in made.owner["spec"].get("volumeClaimTemplates", [])]
    volumes = [volume["name"] for volume in made.spec.get("volumes", [])]
    assert [mount["name"] for mount in made.container["volumeMounts"] if mount["name"] not in claims + volumes] == []


def test_images_are_the_compose_file_s_and_ours() -> None:
    ours, nats = {made.container["image"] for made in PODS if made.name != "StatefulSet/nats"}, pods("StatefulSet/nats")
    (image,) = ours
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert image == f"registry.example.com/milepost:{version[1]}"
    assert f"image: {nats.container['image']}\n" in (ROOT / "docker-compose.yml").read_text()
    user = {made.spec["securityContext"]["runAsUser"] for made in PODS if made.name != "StatefulSet/nats"}
    assert f"--uid {user.pop()} " in (ROOT / "Dockerfile").read_text()


def test_the_tenants_are_those_of_the_compose_file() -> None:
    assert one("ConfigMap", "nats-config")["data"]["tenants.conf"] == (ROOT / "docker" / "nats.conf").read_text()


def test_kubernetes_waits_longer_than_the_hub_takes_to_go() -> None:
    hub = pods("Deployment/milepost")
    pause = int(hub.container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = float(hub.variables["MILEPOST_DRAIN_SECONDS"]["value"])
    longest = pause + drain + HubSettings().write_wait + BridgeSettings().connect_timeout
    assert longest < hub.spec["terminationGracePeriodSeconds"]


def test_kubernetes_waits_longer_than_a_worker_drains() -> None:
    worker = WorkerSettings()
    assert worker.drain + worker.cancel_wait < pods("Deployment/worker-acme").spec["terminationGracePeriodSeconds"]


def test_kubernetes_waits_longer_than_a_lame_duck_lives() -> None:
    conf = one("ConfigMap", "nats-config")["data"]["nats.conf"]
    seconds = re.search(r"lame_duck_duration: (\d+)s", conf)
    assert seconds is not None
    assert int(seconds[1]) < pods("StatefulSet/nats").spec["terminationGracePeriodSeconds"]


def test_idle_connections_outlive_a_heartbeat_at_the_ingress() -> None:
    (ingress,) = of_kind("Ingress")
    seconds = int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"])
    assert seconds >= 4 * HubSettings().heartbeat_interval


def test_all_who_make_streams_make_as_many_copies() -> None:
    replicas = pods("StatefulSet/nats").owner["spec"]["replicas"]
    for name in ("Deployment/milepost", "Deployment/worker-acme"):
        copies = {key: int(value["value"]) for key, value in pods(name).variables.items() if key.endswith("_REPLICAS")}
        assert set(copies.values()) == {replicas}
        assert "MILEPOST_RUNNER_REPLICAS" in copies
    assert "MILEPOST_BRIDGE_LOG_REPLICAS" in pods("Deployment/milepost").variables
