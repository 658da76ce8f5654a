"""A process with metrics of its own: `python -m tests.hub.counting 3` counts to 3 and prints what a scrape shows.

It stays until its standard input ends, for a worker's gauges count only while it lives.
"""

from __future__ import annotations

import sys

from milepost_hub.metrics import Metrics


def main(count: int) -> None:
    metrics = Metrics()
    metrics.count("test_events", "Events.", None, lambda: count)
    metrics.count("test_errors", "Errors.", "code", lambda: {"shared": count, f"only_{count}": 1})
    metrics.gauge("test_connections", "Connections.", lambda: count)
    metrics.gauge("test_up", "Whether it is up.", lambda: count, lowest=True)
    sys.stdout.write(metrics.exposition().decode() + "\0")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
