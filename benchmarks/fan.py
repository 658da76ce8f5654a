"""One measurement of fan-out: clients that listen, a publisher at a rate, and a steady window in between."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple

from benchmarks.child import Child, ChildFailedError
from benchmarks.contestant import Contestant, Running, running
from benchmarks.load import LoadClient, publisher
from benchmarks.usage import busy_seconds, cpu_seconds

OURS: Final = (Contestant.HUB, Contestant.LIVE)

_SETTLE = 0.3
_TAIL = 0.2
_HUB_GRACE = 20.0
_PEER_GRACE = 2.0
_OVERLOAD_KINDS = {"closed", "silent"}


@dataclass(frozen=True)
class Load:
    """What is offered: `rate` events a second over all `jobs`, for `warm_up` and then `window` seconds."""

    clients: int
    jobs: int
    rate: int
    warm_up: float
    window: float

    @property
    def offered(self) -> float:
        """Deliveries a second when every client gets every event of its job."""
        return self.rate * self.clients / self.jobs

    @property
    def total(self) -> int:
        """Events published in all, a little beyond the window."""
        return round(self.rate * (self.warm_up + self.window + _TAIL))


@dataclass(frozen=True)
class FanRun:
    """What was seen in the steady window of one run.

    Attributes:
        delivered: deliveries a second.
        cpu: cores the serving process used (nats-server itself for the gateway).
        nats_cpu: cores nats-server used.
        client_cpu: cores the load client used.
        elsewhere: cores taken by whatever else ran on this machine, which disturbs the run.
        latency_ms: p50, p99 and maximum, from the publisher's write to the load client's read.
        kept_up: everything published arrived, and the window delivered what was offered.
        trouble: why a run has no complete figures; None when it has.
    """

    contestant: Contestant
    delivered: float
    cpu: float
    nats_cpu: float
    client_cpu: float
    elsewhere: float
    latency_ms: tuple[float, float, float]
    kept_up: bool
    trouble: str | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing else on the machine disturbed it."""
        return self.elsewhere < DISTURBED


# Cores in use by others that spoil a run. What is counted includes interrupts and the starting of our own
# processes, so it is never quite zero.
DISTURBED: Final = 0.2


class _Cpu(NamedTuple):
    """CPU seconds so far, or over a window cores."""

    server: float
    nats: float
    client: float
    publisher: float
    machine: float

    @classmethod
    def now(cls, server: Running, client: Child, source: Child) -> _Cpu:
        return cls(
            server=cpu_seconds(server.pid),
            nats=cpu_seconds(server.nats_pid),
            client=cpu_seconds(client.pid),
            publisher=cpu_seconds(source.pid),
            machine=busy_seconds(),
        )

    def ours(self, server: Running) -> tuple[float, ...]:
        """What this run used itself; the gateway is nats-server."""
        nats = 0.0 if server.pid == server.nats_pid else self.nats
        return self.server, nats, self.client, self.publisher


class WrongDeliveryError(Exception):
    """Something arrived that was not published, was out of order, or never arrived where it had to."""


def measure(contestant: Contestant, load: Load) -> FanRun:
    """Run it once; WrongDeliveryError for any wrong event, and for the hub also for a missing one."""
    with ExitStack() as stack:
        server = stack.enter_context(running(contestant))
        try:
            return _measure(stack, server, load)
        except ChildFailedError as error:
            if contestant in OURS or error.kind not in _OVERLOAD_KINDS:
                raise WrongDeliveryError(f"{contestant.value}: {error}") from error
            return FanRun(contestant, 0, 0, 0, 0, 0, (0, 0, 0), kept_up=False, trouble=str(error))


def measure_plain(load: Load) -> float:
    """Cores nats-server uses for this load when one plain subscriber listens and nobody else."""
    with (
        running(Contestant.PLAIN) as server,
        publisher(server, jobs=load.jobs, rate=load.rate, total=load.total) as source,
    ):
        source.answer("started", 10)
        time.sleep(load.warm_up)
        before, start = cpu_seconds(server.nats_pid), time.monotonic()
        time.sleep(load.window)
        used = (cpu_seconds(server.nats_pid) - before) / (time.monotonic() - start)
        source.answer("published", 30)
        return used


def _measure(stack: ExitStack, server: Running, load: Load) -> FanRun:
    clients = stack.enter_context(LoadClient(server, load.clients, load.jobs))
    clients.wait_until_subscribed()
    time.sleep(_SETTLE)
    source = stack.enter_context(publisher(server, jobs=load.jobs, rate=load.rate, total=load.total))
    source.answer("started", 10)
    time.sleep(load.warm_up)
    begin, cpu_begin = clients.mark(), _Cpu.now(server, clients, source)
    time.sleep(load.window)
    end, cpu_end = clients.mark(), _Cpu.now(server, clients, source)
    seconds = (end.ns - begin.ns) / 1e9
    cpu = _Cpu(*((after - before) / seconds for before, after in zip(cpu_begin, cpu_end, strict=True)))
    delivered = (end.delivered - begin.delivered) / seconds
    complete = _complete(server, clients, source, load)
    return FanRun(
        contestant=server.contestant,
        delivered=delivered,
        cpu=cpu.server,
        nats_cpu=cpu.nats,
        client_cpu=cpu.client,
        elsewhere=max(0.0, cpu.machine - sum(cpu.ours(server))),
        latency_ms=(end.p50_ms, end.p99_ms, end.max_ms),
        kept_up=complete and delivered > 0.98 * load.offered,
    )


def _complete(server: Running, clients: LoadClient, source: Child, load: Load) -> bool:
    """Whether everything arrived. A peer that is far behind is not waited for; the hub is, and must."""
    hub = server.contestant in OURS
    try:
        source.answer("published", 30 if hub else 5)
        missing = clients.missing(load.total, _HUB_GRACE if hub else _PEER_GRACE)
    except ChildFailedError as error:
        if hub or error.kind not in _OVERLOAD_KINDS:
            raise
        return False
    if hub and missing:
        raise WrongDeliveryError(f"{server.contestant.value}: {missing} deliveries never arrived")
    return missing == 0
