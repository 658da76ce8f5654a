"""One connection and one thread for all reporters of a process: for workers that run one short job after the other.

A `SharedReporter` reports over it. It is made when the first of them has something to say, anew in a forked child, and
ended with the process, which waits for what is left as it does for any reporter.
"""

import functools
import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from milepost_reporter import control, process, subject
from milepost_reporter.carrier import Carrier
from milepost_reporter.lane import ENDED_BY_OTHERS, Lane
from milepost_reporter.lane_sender import LaneSender
from milepost_reporter.lanes import Lanes, Member
from milepost_reporter.outbox import Outbox
from milepost_reporter.settings import Settings

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from milepost_reporter.jetstream.client import WireClient

_logger: Final = logging.getLogger("milepost_reporter")

_MANY: Final = 100
"""Jobs that have ended and wait to be told, when the next one waits a moment."""

_MOMENT: Final = 0.001

_MAX_LATER: Final = 1_000
"""What may be left to be done later."""

_REACH: Final = (
    *("nats_url", "user", "password", "token", "creds", "ca", "inbox_prefix"),
    *("close_timeout", "unreachable_timeout", "connect_timeout", "reconnect_wait", "ping_interval"),
)
"""Settings of a connection, in which reporters that share it agree."""

Answer = Callable[[bytes], bytes]


class SharedLink(Carrier):
    """What several reporters send over one connection."""

    def __init__(self, settings: Settings) -> None:
        self._lanes = Lanes(self._forgotten, self._gave_up)
        super().__init__(settings, self._lanes, "this process's jobs")
        self._numbers = itertools.count(1)
        # What answers requests to jobs, by subject and lane: several tasks of one job may run here at the same time.
        self._answers: dict[bytes, dict[str, Answer]] = {}
        self._place_of: dict[str, bytes] = {}
        # Over which connection which subjects are heard.
        self._listens_on: WireClient | None = None
        self._heard: dict[bytes, Subscription] = {}
        # What is to be done, and when; pushed by any thread.
        self._lock = threading.RLock()
        self._later: list[tuple[float, int, Callable[[], object]]] = []

    def __len__(self) -> int:
        """How many reporters have something to say, or may have."""
        return len(self._lanes)

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closing_since is not None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be sent at all; None while there is a connection."""
        return self._away_because

    def sender(
        self,
        settings: Settings,
        reporter: str,
        outbox: Outbox,
        sample: Callable[[], bool],
        begun: Callable[[], bool],
        *,
        owner: bool,
        alone: bool,
    ) -> "SharedSender":
        """What empties one reporter's outbox; see `Lane` for the arguments.

        alone: whether the job is known to have no other reporter: then it needs no early record, and that somebody else
        has ended its run is worth a warning.
        """
        lane = Lane(
            settings,
            reporter,
            outbox,
            owner=owner,
            begun=begun,
            complain=self._complain if alone else self._complain_of_several,
            early_record=not alone,
        )
        name = str(next(self._numbers))
        self._lanes.add(Member(name, lane, sample, settings.interval))
        return SharedSender(self, name, lane, subject.control(settings.tenant, settings.job).encode())

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Have the thread do it then; at once when the process ends before, or too much is to be done. It must not
        raise.
        """
        with self._lock:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), act))
            due = [heapq.heappop(self._later)[2]] if len(self._later) > _MAX_LATER else []
        for overdue in due:
            overdue()
        self.wake()

    # For its senders, from any thread

    def wake_lane(self, name: str) -> None:
        """This lane has something to send."""
        self._lanes.wake(name)
        self.wake()

    def close_lane(self, name: str) -> None:
        """This lane has nothing more to send.

        Where jobs end faster than this thread comes to tell it, though NATS is there, each lets it catch up a moment.
        """
        self._lanes.close(name)
        self.wake()
        if self.connected and self._lanes.closing > _MANY and threading.current_thread() is not self._thread:
            time.sleep(_MOMENT)

    def answer(self, name: str, place: bytes, answer: Answer) -> None:
        """Give requests at `place` to `answer`, as long as the lane is there."""
        with self._lock:
            self._place_of[name] = place
            self._answers.setdefault(place, {})[name] = answer
        self.wake()

    # The thread's own

    def _sample(self) -> bool:
        """The lanes look at their nodes themselves; what is due is done here."""
        moment = time.monotonic()
        while True:
            with self._lock:
                if not self._later or not (self._later[0][0] <= moment or self.closed):
                    return False
                act = heapq.heappop(self._later)[2]
            act()

    @property
    def idle(self) -> bool:
        """Whether everything has been sent and has arrived, and nothing is to be done later."""
        return not self._later and super().idle

    def _until_next(self, busy: bool) -> float:
        wait = super()._until_next(busy)
        with self._lock:
            return min(wait, self._later[0][0] - time.monotonic()) if self._later else wait

    async def _open_control(self, client: "WireClient") -> None:
        if self._listens_on is not client:
            self._listens_on, self._heard = client, {}
        for place in [place for place in self._heard if place not in self._answers]:
            await self._heard.pop(place).unsubscribe()
        for place in [place for place in list(self._answers) if place not in self._heard]:
            self._heard[place] = await client.subscribe(place.decode())

    def _answer_to(self, place: bytes) -> Answer | None:
        with self._lock:
            answers = list(self._answers.get(place, {}).values())
        return functools.partial(_ask_all, answers) if answers else None

    def _forgotten(self, name: str) -> None:
        with self._lock:
            place = self._place_of.pop(name, None)
            if place is None:
                return
            del self._answers[place][name]
            if not self._answers[place]:
                del self._answers[place]
        self.wake()

    def _complain_of_several(self, sort: str, message: str, *values: object) -> None:
        """Where several may end a run, one is first."""
        if sort == ENDED_BY_OTHERS:
            _logger.debug(message, *values)
        else:
            self._complain(sort, message, *values)

    def _gave_up(self) -> None:
        self._complain("gave up", "more jobs than can be kept while NATS does not take their events: the oldest go")


def _ask_all(answers: list[Answer], payload: bytes) -> bytes:
    """Accepted when one of them accepts; `answers` is not empty."""
    given = [answer(payload) for answer in answers]
    return control.ACCEPTED if control.ACCEPTED in given else given[-1]


class SharedSender(LaneSender):
    """One reporter's lane on the shared connection: its `Sender`."""

    def __init__(self, link: SharedLink, name: str, lane: Lane, control: bytes) -> None:
        super().__init__(lane)
        self._link = link
        self._name = name
        self._control = control

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._link.connected

    @property
    def connections(self) -> int:
        """How many there have been, for all."""
        return self._link.connections

    @property
    def trouble(self) -> str:
        """Why what is left could not be sent."""
        return self._link.trouble or self._lane.trouble

    def wake(self) -> None:
        """There is something to take; from any thread."""
        self._link.wake_lane(self._name)

    def listen(self, answer: Answer) -> None:
        """Give requests to the job to `answer` from now on."""
        self._link.answer(self._name, self._control, answer)

    def withdraw(self) -> None:
        """The run's end is promised no more."""
        self._lane.withdraw()
        self.wake()

    def close(self, timeout: float | None = None) -> None:
        """There will be no more to send; what is left is, as long as there is the process."""
        self._link.close_lane(self._name)

    def join(self) -> None:
        """Nothing to wait for: the process's end waits for all."""


class _Links:
    """This process's shared links, by how they reach NATS."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._links: dict[tuple[object, ...], SharedLink] = {}
        process.register(self)

    def of(self, settings: Settings) -> SharedLink:
        key = tuple(getattr(settings, name) for name in _REACH)
        with self._lock:
            link = self._links.get(key)
            if link is None:
                link = SharedLink(settings.of_run("shared", f"process-{os.getpid()}", 1, None))
                link.start()
                self._links[key] = link
                process.close_with_process()
            return link

    def forked(self) -> None:
        """In a child: the threads have stayed behind."""
        self._lock = threading.RLock()
        for link in self._links.values():
            process.orphan(link)
        self._links = {}

    def begin_close(self, timeout: float | None = None) -> None:
        """Nothing: reporters have their last words first."""

    def close(self, timeout: float | None = None) -> bool:
        """Send what is left, all at the same time, within the settings' bounds."""
        with self._lock:
            links, self._links = list(self._links.values()), {}
        for link in links:
            link.close(timeout)
        for link in links:
            link.join()
        return all(link.idle for link in links)


_links: Final = _Links()


def of(settings: Settings) -> SharedLink:
    """The process's link that reaches NATS as `settings` say. RuntimeError when the system has no thread to give."""
    return _links.of(settings)


def close(timeout: float | None = None) -> bool:
    """Send what is left now: for processes that end without their interpreter's end. Whether all has arrived.

    What is reported afterwards has a new link.
    """
    return _links.close(timeout)
