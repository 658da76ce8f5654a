"""The half of a `Sender` that its lane answers for: the link's and a worker's run's alike."""

from milepost_reporter.lane import Lane


class LaneSender:
    """What is known of a lane's events. Counts are of events, each counted once; any thread may read them."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    @property
    def sent(self) -> int:
        """How many events have been sent."""
        return self._lane.sent

    @property
    def confirmed(self) -> int:
        """How many of those have arrived."""
        return self._lane.confirmed

    @property
    def refused(self) -> int:
        """Events that were not taken, for their size or by the stream."""
        return self._lane.refused

    @property
    def idle(self) -> bool:
        """Whether everything has been sent and has arrived."""
        return self._lane.idle
