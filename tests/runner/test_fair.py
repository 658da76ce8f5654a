"""Which queue is asked next, without any queue: what a server would answer is made up here."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from milepost_runner.fair import ASK_PATIENCE, REST, Ask, Fair

POLL = 30.0


def fair_with(*queues: str, hot: str = "") -> Fair[str]:
    """Queues, those of `hot` known to have work, in this order of their last service."""
    fair: Fair[str] = Fair(POLL)
    for queue in queues:
        fair.add(queue)
    for queue in hot:
        fair.came(queue, pending=1)
    return fair


def told(asks: list[Ask[str]]) -> list[tuple[str, int, bool]]:
    return [(ask.queue, ask.jobs, ask.waits) for ask in asks]


def test_a_queue_nobody_knows_of_is_polled_once() -> None:
    """One question waits at the server; a second is put only when it has its answer."""
    fair = fair_with("a", "b")
    asks = fair.next(5, 0.0)
    assert told(asks) == [("a", 1, True), ("b", 1, True)]
    assert fair.next(5, 1.0) == []
    fair.answered(asks[0].number, 1.0)
    assert told(fair.next(5, 1.0)) == [("a", 1, True)]


def test_a_queue_is_polled_although_there_is_no_room() -> None:
    """So that a full worker learns of a first job."""
    assert told(fair_with("a").next(0, 0.0)) == [("a", 1, True)]


def test_queues_with_work_share_the_room_evenly() -> None:
    """What does not come out even goes to those that wait the longest, and no place stays empty."""
    assert told(fair_with("a", "b", "c", hot="abc").next(8, 0.0)) == [("a", 2, False), ("b", 3, False), ("c", 3, False)]


def test_with_little_room_those_served_the_longest_ago_are_asked() -> None:
    fair = fair_with("a", "b", "c", hot="cab")
    assert told(fair.next(2, 0.0)) == [("c", 1, False), ("a", 1, False)]


def test_what_is_asked_for_is_taken_off_the_room() -> None:
    """Until it has come, or it is known that it will not."""
    fair = fair_with("a", "b", hot="ab")
    (ask, _) = fair.next(2, 0.0)
    fair.came("a", 3)
    assert fair.next(0, 0.0) == []
    # both are being run now; one is done
    fair.came("b", 3)
    assert told(fair.next(1, 0.0)) == [("a", 1, False)]
    assert ask.queue == "a"


def test_a_queue_that_has_no_more_is_polled() -> None:
    fair = fair_with("a", hot="a")
    (ask,) = fair.next(3, 0.0)
    assert told([ask]) == [("a", 3, False)]
    fair.came("a", 0)
    assert told(fair.next(2, 0.0)) == [("a", 1, True)]


def test_what_came_by_a_poll_and_had_to_go_back_is_asked_for_first_of_all() -> None:
    """Its queue was never served: its one job comes before a flood's next."""
    fair = fair_with("flood", "lone", hot="flood")
    fair.next(1, 0.0)
    fair.came("flood", 900)
    fair.returned("lone")
    assert fair.next(0, 0.0) == []
    assert told(fair.next(1, 0.0)) == [("lone", 1, False)]


def test_a_question_without_an_answer_is_given_up() -> None:
    """As the server is silent about a tenant at its limit; then it is polled, and its share is free."""
    fair = fair_with("a", "b", hot="ab")
    fair.next(2, 0.0)
    fair.came("b", 5)
    fair.tick(ASK_PATIENCE / 2)
    assert told(fair.next(1, ASK_PATIENCE / 2)) == []
    fair.tick(ASK_PATIENCE)
    assert told(fair.next(1, ASK_PATIENCE)) == [("b", 1, False), ("a", 1, True)]
    assert fair.next_due() == 2 * ASK_PATIENCE


def test_a_queue_that_cannot_be_asked_is_left_alone_for_a_while() -> None:
    fair = fair_with("a")
    (ask,) = fair.next(1, 0.0)
    fair.answered(ask.number, 5.0, fault=True)
    assert fair.next(1, 5.0) == []
    assert fair.next_due() == 5.0 + REST
    assert told(fair.next(1, 5.0 + REST)) == [("a", 1, True)]


def test_a_lost_connection_leaves_nothing_asked() -> None:
    """Everything is asked again, as if it was new."""
    fair = fair_with("a", "b", hot="a")
    asks = fair.next(4, 0.0)
    fair.forget()
    again = fair.next(4, 0.0)
    assert told(again) == [("a", 1, True), ("b", 1, True)]
    for ask in asks:
        fair.answered(ask.number, 0.0)
    assert fair.next(4, 0.0) == []


class Counted(str):
    """A queue that counts how often any is looked up."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)


def test_a_job_costs_the_same_however_many_queues_there_are() -> None:
    """Ten thousand are polled while one has work."""
    spent = []
    for queues in (10, 10_000):
        fair: Fair[Counted] = Fair(POLL)
        for number in range(queues):
            fair.add(Counted(number))
        busy = Counted(0)
        fair.next(1, 0.0)
        Counted.looks = 0
        for turn in range(100):
            fair.came(busy, pending=5)
            fair.tick(float(turn) / 100)
            assert [ask.queue for ask in fair.next(1, float(turn) / 100)] == [busy]
            assert fair.next_due() is not None
        spent.append(Counted.looks)
    assert spent[0] == spent[1]


def test_what_nobody_asked_for_is_harmless() -> None:
    """Answers to no question, jobs of no queue, more jobs than were asked for."""
    fair = fair_with("a")
    fair.answered(99, 0.0)
    fair.came("unknown", 5)
    fair.returned("unknown")
    fair.next(1, 0.0)
    fair.came("a", 0)
    fair.came("a", 0)
    fair.came("a", 0)
    fair.add("a")
    assert ("a" in fair, "unknown" in fair) == (True, False)
    assert told(fair.next(1, 0.0)) == [("a", 1, True)]


class Server(RuleBasedStateMachine):
    """Queues with jobs, questions that wait, and one worker with a few places: in whatever order things happen."""

    @initialize(places=st.integers(1, 6), queues=st.integers(1, 5))
    def begin(self, places: int, queues: int) -> None:
        self.names = [f"q{number}" for number in range(queues)]
        self.fair: Fair[str] = Fair(POLL)
        self.places = places
        self.moment = 0.0
        self.running = 0
        self.work = dict.fromkeys(self.names, 0)
        # What waits at the server, and what is still to come of it: answered or given up, it may come late.
        self.open: deque[tuple[Ask[str], int]] = deque()
        self.asks: list[Ask[str]] = []
        for name in self.names:
            self.fair.add(name)

    @property
    def room(self) -> int:
        return self.places - self.running

    @rule(data=st.data(), jobs=st.integers(1, 8))
    def submit(self, data: st.DataObject, jobs: int) -> None:
        self.work[data.draw(st.sampled_from(self.names))] += jobs

    @rule()
    def look(self) -> None:
        """The worker's turn: it promises no more than it has places for."""
        self.fair.tick(self.moment)
        asks = self.fair.next(self.room, self.moment)
        assert len({ask.queue for ask in asks}) == len(asks)
        assert all(ask.jobs >= 1 for ask in asks)
        assert all(ask.jobs == 1 for ask in asks if ask.waits)
        assert sum(ask.jobs for ask in asks if not ask.waits) <= max(self.room, 0)
        assert self.fair._promised <= max(self.room, sum(count for ask, count in self.open if not ask.waits))
        self.open.extend((ask, ask.jobs) for ask in asks)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        """The server gives one job to one of the questions, or says that there is none."""
        place = data.draw(st.integers(0, len(self.open) - 1))
        ask, left = self.open[place]
        del self.open[place]
        if not self.work[ask.queue]:
            if not ask.waits or data.draw(st.booleans()):
                self.fair.answered(ask.number, self.moment)
            else:
                self.open.append((ask, left))
            return
        self._deliver(ask.queue)
        if left > 1:
            self.open.append((ask, left - 1))

    def _deliver(self, queue: str) -> None:
        if self.room > 0:
            self.work[queue] -= 1
            self.running += 1
            self.fair.came(queue, self.work[queue])
        else:
            self.fair.returned(queue)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A question gets lost on its way."""
        del self.open[data.draw(st.integers(0, len(self.open) - 1))]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.open) - 1))
        self.fair.answered(self.open[place][0].number, self.moment, fault=True)
        del self.open[place]

    @precondition(lambda self: self.running)
    @rule()
    def finish(self) -> None:
        self.running -= 1

    @rule(seconds=st.sampled_from([0.01, ASK_PATIENCE, REST, POLL + 1]))
    def wait(self, seconds: float) -> None:
        self.moment += seconds

    @rule()
    def reconnect(self) -> None:
        self.open.clear()
        self.fair.forget()

    @rule(number=st.integers(-1, 500))
    def stray(self, number: int) -> None:
        """An answer to whatever, at whatever time."""
        self.fair.answered(number, self.moment)

    @invariant()
    def counts_are_whole(self) -> None:
        """What is promised is the sum of what is asked for, and nothing goes below zero."""
        states = self.fair._queues.values()
        assert all(state.count >= 0 for state in states)
        assert self.fair._promised == sum(state.count for state in states if state.number and not state.waits)
        assert sorted(self.fair._asked) == sorted(state.number for state in states if state.number)

    def teardown(self) -> None:
        """With a server that answers, every queue's work is done, and no queue waits for two turns of another's."""
        if not hasattr(self, "fair"):
            return
        self.open.clear()
        self.moment += POLL + REST + 1
        self.running = 0
        self.fair.tick(self.moment)
        for _ in range(40 + 4 * sum(self.work.values())):
            if not any(self.work.values()):
                return
            self._settled_turn()
        raise AssertionError(f"never asked for: {self.work}")

    def _settled_turn(self) -> None:
        """Everything asked is answered, in order; everything that runs ends."""
        for ask in self.fair.next(self.room, self.moment):
            left = ask.jobs
            while left and self.work[ask.queue]:
                self._deliver(ask.queue)
                left -= 1
                if self.room <= 0:
                    break
            if left and not ask.waits:
                self.fair.answered(ask.number, self.moment)
        self.running = 0
        self.moment += ASK_PATIENCE
        self.fair.tick(self.moment)


TestServer = Server.TestCase
