"""Health, metrics, the contract and errors over HTTP, on the port of the WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fastapi.openapi.models import OpenAPI
from prometheus_client.parser import text_string_to_metric_families

from tests.hub.live_hub import EVENT, LiveHub, Source, a_client, a_watcher, an_event, live_hub
from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import RawClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROBLEM = "application/problem+json"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def http(module_hub: LiveHub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=module_hub.url, trust_env=False) as client:
        yield client


async def test_a_living_process_says_so(http: httpx.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_the_hub_is_ready_while_its_source_is_up() -> None:
    """503 with the reason otherwise, also when there has never been a source; alive all the while."""
    source = Source(up=False)
    async with live_hub(source=source) as hub, httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        for up in (False, True, False):
            source.up = up
            hub.upstream_changed()
            response = await http.get("/readyz")
            assert response.status_code == (200 if up else 503)
            told = response.json()
            assert (told["status"], told["upstream"]) == (("ready", "up") if up else ("not ready", "down"))
            assert ("no job log" if up else "NATS") in told["reason"]
            assert (await http.get("/healthz")).status_code == 200


async def test_a_hub_with_a_log_says_that_it_is_durable() -> None:
    source = Source(log=MemoryLog())
    async with live_hub(source=source) as hub, httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        told = (await http.get("/readyz")).json()
        assert told == {"status": "ready", "upstream": "up", "durable": True, "reason": None}


async def test_a_hub_without_the_log_that_it_should_have_is_not_ready_and_says_why() -> None:
    """Events are live all the same; one that is to have none is ready."""
    source = Source()
    source.trouble = "JetStream is off at this server"
    async with live_hub(source=source) as hub, httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        refused = await http.get("/readyz")
        assert refused.status_code == 503
        assert refused.json() == {
            "status": "not ready",
            "upstream": "up",
            "durable": False,
            "reason": "JetStream is off at this server",
        }
        source.trouble = None
        assert (await http.get("/readyz")).status_code == 200


async def test_the_metrics_name_no_tenant_and_no_job() -> None:
    """Whatever is connected, subscribed, delivered and refused."""
    async with live_hub(max_subscriptions=1) as hub, httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        async with (
            await a_watcher(hub, "the-secret-job", "the-secret-tenant", sub="the-secret-person") as client,
            await RawClient.connect(hub.port, "the-secret-token") as stranger,
        ):
            hub.deliver("the-secret-tenant", "the-secret-job", an_event(EVENT, "the-secret-node"))
            await client.message()
            await client.subscribe("the-other-secret-job", id="the-secret-id")
            await client.send({"action": "the-secret-action"})
            await client.message()
            await stranger.closed()
            response = await http.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        assert "secret" not in response.text
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }
        assert samples["milepost_hub_connections",] == 1
        assert samples["milepost_hub_channels",] == 1
        assert samples["milepost_hub_upstream_up",] == 1
        assert samples["milepost_hub_errors_total", "too_many_subscriptions"] == 1
        assert samples["milepost_hub_errors_total", "bad_message"] == 1
        assert samples["milepost_hub_errors_total", "token_malformed"] == 1
        assert samples["milepost_hub_closes_total", "4500"] == 1


async def test_the_contract_is_valid_and_complete(http: httpx.AsyncClient) -> None:
    contract = (await http.get("/openapi.json")).json()
    OpenAPI.model_validate(contract)
    assert contract["openapi"].startswith("3.1")
    assert set(contract["paths"]) >= {
        *("/healthz", "/readyz", "/metrics"),
        *("/api/jobs", "/api/jobs/{job}", "/api/jobs/{job}/events", "/api/jobs/{job}/stream"),
        *("/api/jobs/{job}/again", "/api/jobs/{job}/submission"),
    }
    for path in contract["paths"].values():
        for operation in path.values():
            assert operation["responses"]["default"]["content"].keys() == {PROBLEM}
    assert "503" in contract["paths"]["/readyz"]["get"]["responses"]
    assert "text/plain" in contract["paths"]["/metrics"]["get"]["responses"]["200"]["content"]


async def test_the_contract_says_how_to_submit(http: httpx.AsyncClient) -> None:
    """What is sent, what comes back and where it points, and every way in which it can fail."""
    contract = (await http.get("/openapi.json")).json()
    submit = contract["paths"]["/api/jobs"]["post"]
    body = submit["requestBody"]["content"]["application/json"]["schema"]
    assert (set(body["properties"]), body["required"]) == ({"name", "payload", "key"}, ["name", "payload"])
    assert body["additionalProperties"] is False
    assert all(field["description"] for field in body["properties"].values())
    again = contract["paths"]["/api/jobs/{job}/again"]["post"]
    assert "requestBody" not in again
    for operation, failures in [
        (submit, {"400", "401", "403", "404", "408", "409", "413", "422", "501", "503"}),
        (again, {"401", "403", "404", "409", "413", "422", "501", "503"}),
    ]:
        responses = operation["responses"]
        assert set(responses) == {"201", "default", *failures}
        for status in failures:
            assert responses[status]["content"] == {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        assert "Location" in responses["201"]["headers"]
        assert responses["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/Submitted")
    assert contract["components"]["schemas"]["Problem"]["properties"]["errors"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/ws", 404),
        ("POST", "/healthz", 405),
        ("GET", "/docs", 404),
    ],
)
async def test_errors_are_problems(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """As RFC 9457 has them."""
    response = await http.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    problem = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert "server" not in response.headers


async def test_an_error_keeps_its_headers(http: httpx.AsyncClient) -> None:
    assert (await http.post("/healthz")).headers["allow"] == "GET"


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example", True), ("https://evil.example", False)])
async def test_pages_of_named_origins_may_read(http: httpx.AsyncClient, origin: str, allowed: bool) -> None:
    """The origins that may connect, and no others."""
    expected = origin if allowed else None
    for path in ("/healthz", "/nothing"):
        response = await http.get(path, headers={"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == expected
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "Authorization",
    }
    response = await http.options("/healthz", headers=asked)
    assert response.headers.get("access-control-allow-origin") == expected
    assert response.is_success == allowed


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example", True), ("https://evil.example", False)])
async def test_pages_of_named_origins_may_submit(http: httpx.AsyncClient, origin: str, allowed: bool) -> None:
    """JSON with a token, and read where the job is; a page of another origin is stopped before it sends any."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    response = await http.options("/api/jobs", headers=asked)
    assert response.is_success == allowed
    if allowed:
        assert response.headers["access-control-allow-origin"] == origin
        assert "POST" in response.headers["access-control-allow-methods"]
        headers = response.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type"} <= set(headers.split(", "))
    refused = await http.post("/api/jobs", headers={"Origin": origin}, json={})
    assert refused.status_code == 401
    exposed = refused.headers.get("access-control-expose-headers") if allowed else None
    assert exposed == ("Location, Retry-After" if allowed else None)
    assert refused.headers.get("access-control-allow-origin") == (origin if allowed else None)


@pytest.mark.parametrize("written", ["https://App.Example:443/", "https://app.example", "*"])
async def test_an_origin_means_the_same_to_websockets_and_to_cors(written: str) -> None:
    """However it was written."""
    headers = {"Origin": "https://app.example"}
    async with live_hub(allow_origins=[written]) as hub:
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
            allowed = (await http.get("/healthz", headers=headers)).headers.get("access-control-allow-origin")
        assert allowed in {"https://app.example", "*"}
        async with await RawClient.connect(hub.port, headers={"Origin": "https://app.example"}):
            pass


async def test_http_goes_on_while_clients_are_connected(module_hub: LiveHub, http: httpx.AsyncClient) -> None:
    async with await a_client(module_hub) as client:
        assert (await http.get("/healthz")).status_code == 200
        assert (await client.subscribe(1))["type"] == "subscribed"
