"""A job's process that speaks NATS' text protocol by hand: one event, then beats for ever.

Arguments: port, tenant, job, run, lease. It prints a line when its event and its first beat are with the server.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time

from tests.bridge.bare_publisher import BarePublisher


def event_headers(run: int, lease: float | None) -> bytes:
    """The header block of a reporter's event."""
    promise = b"" if lease is None else b"Milepost-Lease: %g\r\n" % lease
    return b"NATS/1.0\r\nMilepost-Reporter: r1\r\nMilepost-Run: %d\r\n%b\r\n" % (run, promise)


def beat(run: int, lease: float, *, ended: bool = False) -> bytes:
    """The payload of a beat."""
    return json.dumps({"run": run, "lease": lease} | ({"ended": True} if ended else {})).encode()


def main() -> None:
    port, tenant, job, run, lease = sys.argv[1:]
    place = f"tenant.{tenant}.job.{job}".encode()
    with BarePublisher(int(port)) as publisher:
        event = json.dumps({"kind": "job", "status": "running", "run": int(run)}).encode()
        assert publisher.publish(place + b".progress", event, event_headers(int(run), float(lease)))
        assert publisher.publish(place + b".alive", beat(int(run), float(lease)))
        sys.stdout.write("beating\n")
        sys.stdout.flush()
        while True:
            time.sleep(float(lease) / 3)
            # a server that is away is tried again with the next one
            with contextlib.suppress(OSError):
                publisher.publish(place + b".alive", beat(int(run), float(lease)))


if __name__ == "__main__":
    main()
