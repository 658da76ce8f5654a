"""One reporter's own thread and connection to NATS: a `Carrier` of its lane."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from milepost_reporter import subject
from milepost_reporter.carrier import Carrier
from milepost_reporter.lane import Lane
from milepost_reporter.lane_sender import LaneSender
from milepost_reporter.outbox import Outbox
from milepost_reporter.settings import Settings

if TYPE_CHECKING:
    from milepost_reporter.jetstream.client import WireClient


class Link(LaneSender, Carrier):
    """One reporter's sender.

    `sample()` puts the progress of running nodes into the outbox and says whether there are any. `begun()` says
    whether this reporter has told that the job is running: from then on it beats, when it promises a lease.
    """

    def __init__(
        self,
        settings: Settings,
        reporter: str,
        outbox: Outbox,
        sample: Callable[[], bool],
        begun: Callable[[], bool] = lambda: False,
        *,
        owner: bool = False,
    ) -> None:
        lane = Lane(settings, reporter, outbox, owner=owner, begun=begun, complain=self._complain)
        LaneSender.__init__(self, lane)
        Carrier.__init__(self, settings, lane, f"job {settings.job}")
        self._sample_nodes = sample
        self._control = subject.control(settings.tenant, settings.job)
        # What answers requests to the job; None while it has not asked to hear of them.
        self._answer: Callable[[bytes], bytes] | None = None
        # The connection over which it hears of them.
        self._listens_on: WireClient | None = None

    @property
    def trouble(self) -> str:
        """Why what is left could not be sent."""
        return self._away_because or self._lane.trouble

    def listen(self, answer: Callable[[bytes], bytes]) -> None:
        """Subscribe to the job's requests, over every connection from now on; `answer` is called on the thread."""
        self._answer = answer
        self.wake()

    def _sample(self) -> bool:
        return self._sample_nodes()

    async def _open_control(self, client: "WireClient") -> None:
        """Hear requests to the job, when it wants to."""
        if self._answer is not None and self._listens_on is not client:
            self._listens_on = client
            await client.subscribe(self._control)

    def _answer_to(self, place: bytes) -> Callable[[bytes], bytes] | None:
        return self._answer if place == self._control.encode() else None
