"""What is counted, for Prometheus.

Hot paths add to plain integers and dictionaries; `Metrics.sync` carries these over to prometheus-client's counters
once a second and at every scrape. With several workers prometheus-client shares them through files
(`PROMETHEUS_MULTIPROC_DIR`), and any worker's `/metrics` adds them all up.

No label ever carries a tenant, a job or anything else a client can choose.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import cast, overload

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

logger = logging.getLogger("milepost.hub")

CONTENT_TYPE = CONTENT_TYPE_LATEST

Totals = Callable[[], Mapping[str, int]]
Total = Callable[[], int]


class _Carried:
    """One counter, brought up to date from totals by label value."""

    def __init__(self, read: Totals, counter: Callable[[str], Counter]) -> None:
        self._read = read
        self._counter = counter
        self._last: dict[str, int] = {}

    def sync(self) -> None:
        for value, total in list(self._read().items()):
            grown = total - self._last.get(value, 0)
            if grown > 0:
                self._counter(value).inc(grown)
                self._last[value] = total


class _WithoutCreated(Collector):
    """Everything but the `_created` series, which prometheus-client can leave out for the whole process only."""

    def __init__(self, everything: Collector) -> None:
        self._everything = everything

    def collect(self) -> Iterable[Metric]:
        for metric in self._everything.collect():
            metric.samples = [sample for sample in metric.samples if sample.name != f"{metric.name}_created"]
            yield metric


class Metrics:
    """The metrics of one hub and of whoever feeds it."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._carried: list[_Carried] = []
        self._gauges: list[tuple[Gauge, Callable[[], float]]] = []

    @overload
    def count(self, name: str, help: str, label: str, read: Totals) -> None: ...
    @overload
    def count(self, name: str, help: str, label: None, read: Total) -> None: ...
    def count(self, name: str, help: str, label: str | None, read: Callable[[], Mapping[str, int] | int]) -> None:
        """Export a counter, as `<name>_total`.

        `read` gives totals by the values of `label`, which must be few and our own; without a label, one total.
        """
        if label is None:
            counter = Counter(name, help, registry=self._registry)
            self._carried.append(_Carried(lambda: {"": cast("Total", read)()}, lambda _: counter))
        else:
            counter = Counter(name, help, [label], registry=self._registry)
            self._carried.append(_Carried(cast("Totals", read), counter.labels))

    def gauge(self, name: str, help: str, read: Callable[[], float], *, lowest: bool = False) -> None:
        """Export a gauge; of several workers the sum is told, or the `lowest`."""
        gauge = Gauge(name, help, registry=self._registry, multiprocess_mode="livemin" if lowest else "livesum")
        self._gauges.append((gauge, read))

    def sync(self) -> None:
        """Bring prometheus-client up to date."""
        for carried in self._carried:
            _attempt(carried.sync)
        for gauge, read in self._gauges:
            _attempt(partial(_set, gauge, read))

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format, every worker's share included."""
        self.sync()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(_WithoutCreated(self._registry))
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


def _set(gauge: Gauge, read: Callable[[], float]) -> None:
    gauge.set(read())


def _attempt(step: Callable[[], None]) -> None:
    """A figure that cannot be had, for a gauge that fails or a full disk, takes neither clocks nor others along."""
    try:
        step()
    except Exception:
        logger.exception("a metric could not be brought up to date")
