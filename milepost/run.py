"""`milepost run`: any command as a job, from outside."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, NoReturn

import typer
from milepost_reporter.ending import Ending
from milepost_reporter.payload import tail, text
from milepost_reporter.reporter import Reporter

from milepost.errors import CommandError
from milepost.nats_access import NatsAccess
from milepost.options import Group, expand, names
from milepost.spoken import BURST, RATE, Spoken

if TYPE_CHECKING:
    from milepost_reporter.node import Node
    from milepost_reporter.settings import Settings

    from milepost.command import Command, Signals
    from milepost.passing import Passing

logger = logging.getLogger(__name__)

# What a reporter has no setting for could not be told to those inside the command either.
GROUP: Final = Group("NATS", without=frozenset({"cert", "key"}))

_INTERRUPTS: Final = (
    frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}) if sys.platform != "win32" else frozenset()
)

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_SIGNALLED: Final = 128
"""As a shell has them."""

_NOT_WRITTEN: Final = 1
"""As commands have it whose output has no room."""

_LOOK: Final = 1.0
"""Seconds until lines beyond the rate are looked for."""

_LOOK_FOR_LEFT: Final = 0.05
"""Seconds between looks for what has been told to end."""

_HELD_UP: Final = 1.0
"""Seconds for outputs that nobody takes, when the command had to be ended."""


@expand({NatsAccess: GROUP})
def run(
    *,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND...",
            help="The command and its arguments, as they are: put -- before it.",
            envvar="MILEPOST_RUN_COMMAND",
        ),
    ],
    nats: NatsAccess,
    name: Annotated[
        str | None,
        typer.Option("--name", envvar="MILEPOST_NAME", help="The job's name, for people; by default the command's."),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option("--job", envvar="MILEPOST_JOB", help="The job's id; by default one that nobody has had."),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            envvar="MILEPOST_TENANT",
            help="The tenant the job belongs to; without it the command runs, and nothing is reported.",
        ),
    ] = None,
    number: Annotated[
        int | None, typer.Option("--run", envvar="MILEPOST_RUN", help="Which execution of the job, from 1.")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            envvar="MILEPOST_RUN_GRACE",
            min=0,
            help="Seconds from SIGTERM to SIGKILL, when the job is cancelled or milepost run gets SIGTERM.",
        ),
    ] = 10.0,
    log_rate: Annotated[
        float,
        typer.Option(
            "--log-rate",
            envvar="MILEPOST_RUN_LOG_RATE",
            min=0,
            help="Lines of output a second that become log lines; 0: none.",
        ),
    ] = RATE,
    log_burst: Annotated[
        int,
        typer.Option(
            "--log-burst", envvar="MILEPOST_RUN_LOG_BURST", min=1, help="Lines that may come at once beyond that."
        ),
    ] = BURST,
    bars: Annotated[
        bool,
        typer.Option("--bars/--no-bars", envvar="MILEPOST_RUN_BARS", help="Take tqdm's bars in the output for nodes."),
    ] = True,
    output: Annotated[
        bool,
        typer.Option(
            "--output/--no-output",
            envvar="MILEPOST_RUN_OUTPUT",
            help="Read the output. Without it the command writes straight to ours, and nothing of it is told.",
        ),
    ] = True,
    quiet: Annotated[
        bool, typer.Option("--quiet/--no-quiet", envvar="MILEPOST_RUN_QUIET", help="Do not print the job's id.")
    ] = False,
) -> None:
    """Run a command as a job: its output as log lines, tqdm's bars as nodes, its exit code as the end.

    Inside another milepost run it is a node of that job.

    Exit codes: the command's; 128 and the signal that ended it, 127 it is not there, 126 it cannot be executed.
    """
    if sys.platform == "win32":
        raise CommandError("milepost run needs a system with POSIX processes and terminals, which Windows is not")
    from milepost_reporter.names import new_job_id

    from milepost.command import Signals

    _stand_in_for_closed_outputs()
    logging.getLogger("milepost_reporter").addHandler(_FirstWarning())
    what = name or Path(_program(command[0])).name or "command"
    given = {"tenant": tenant, "job": job, "run": None if number is None else str(number), "name": what}
    asked = _Asked(given, nats, os.environ)
    settings = asked.settings(new_job_id(what))
    told = _AsNode(settings, what) if asked.inside else _AsJob(settings)
    if told.job is not None and not quiet:
        _say(f"job {told.job}")
    told.reads_output = told.reads_output and output
    said = Spoken(told.reporter, rate=log_rate, burst=log_burst, bars=bars)
    with Signals() as signals:
        told.begin()
        running = _Run(told, said, command, asked.environ_for(settings), grace)
        outcome = running.outcome(signals)
        told.end(outcome, running.last_words)
    _leave(outcome)


class _Asked:
    """What the command line and the environment say of where to report, and what of it goes on to the command."""

    def __init__(self, given: Mapping[str, str | None], nats: NatsAccess, environ: Mapping[str, str]) -> None:
        told = {f"MILEPOST_{word.upper()}": value for word, value in given.items()}
        for field, (_, variable) in names(NatsAccess, GROUP).items():
            value = getattr(nats, field)
            told[variable] = None if value is None else str(value)
        # The job that we are run in, if somebody else tells its start and end.
        around = environ if environ.get("MILEPOST_OWNER") == "no" else {}
        same = all(told[word] == around.get(word) for word in ("MILEPOST_TENANT", "MILEPOST_JOB"))
        self.inside = bool(around) and told["MILEPOST_JOB"] is not None and same
        if around and not self.inside and told["MILEPOST_RUN"] == around.get("MILEPOST_RUN"):
            told["MILEPOST_RUN"] = None
        self._environ = {
            **{word: value for word, value in environ.items() if word not in told},
            **{word: value for word, value in told.items() if value is not None},
        }

    def settings(self, job: str) -> Settings | None:
        """What to report with, as `job` when none was named; None when that cannot be, told once."""
        from milepost_reporter.settings import Settings

        return Settings.from_env({"MILEPOST_JOB": job, **self._environ}, logging.getLogger("milepost_reporter").warning)

    def environ_for(self, settings: Settings | None) -> dict[str, str]:
        """The command's: reporters inside it take part in the job, and leave its start and end to us."""
        if settings is None:
            return dict(os.environ)
        kept = {word: value for word, value in self._environ.items() if word != "MILEPOST_NAME"}
        return {
            **kept,
            "MILEPOST_JOB": settings.job,
            "MILEPOST_RUN": str(settings.run),
            "MILEPOST_OWNER": "no",
        }


class _Outcome(NamedTuple):
    """How a command has ended: `reason` in words, `code` our exit code; whether Ctrl-C on a terminal has ended it."""

    status: str
    reason: str
    code: int
    by_interrupt: bool = False


class _JobReporter(Reporter):
    """A reporter that tells how a command has failed."""

    def failed(self, reason: str, details: str) -> None:
        error = {"message": text("reason", reason), "details": tail(details)}
        self.harmless("end", self._end, Ending("failed", None, {word: value for word, value in error.items() if value}))


class _AsJob:
    """The command as a job."""

    def __init__(self, settings: Settings | None) -> None:
        self.reporter = _JobReporter.from_settings(settings, owner=settings is not None)
        self.job = None if settings is None else settings.job
        # Without a job nothing of it is told: the command is left alone with them.
        self.reads_output = settings is not None

    def begin(self) -> None:
        self.reporter.begin()

    def end(self, outcome: _Outcome, last_words: str) -> None:
        """Blocks, for the settings' timeouts at most."""
        if outcome.status == "failed":
            self.reporter.failed(outcome.reason, last_words)
        elif outcome.status == "cancelled":
            self.reporter.cancel(outcome.reason)
        else:
            self.reporter.complete()
        self.reporter.close()


class _AsNode:
    """The command as a node of the job that it is run in; its output is read by whoever runs that."""

    job = None
    reads_output = False

    def __init__(self, settings: Settings | None, name: str) -> None:
        self.reporter = Reporter.from_settings(settings, owner=False)
        self._name = name
        self._node: Node | None = None

    def begin(self) -> None:
        self._node = self.reporter.node(None, self._name)

    def end(self, outcome: _Outcome, last_words: str) -> None:
        """Blocks, for the settings' timeouts at most."""
        assert self._node is not None  # noqa: S101 - it has begun
        if outcome.status == "failed":
            self._node.fail(outcome.reason)
        elif outcome.status == "cancelled":
            self._node.cancel(outcome.reason)
        else:
            self._node.complete()
        self.reporter.close()


class _Run:
    """One command from start to end, and what is told of it."""

    def __init__(
        self, told: _AsJob | _AsNode, said: Spoken, arguments: list[str], environ: dict[str, str], grace: float
    ) -> None:
        self._said = said
        self._reads_output = told.reads_output
        self._cancellation = told.reporter.cancellation
        self._arguments = arguments
        self._environ = environ
        self._grace = grace
        self._passing: Passing | None = None
        # What the terminal or somebody else has sent us that ends a command which does not listen.
        self._interrupted = False
        # When what is left is killed; None until it has been told to end.
        self._killed_at: float | None = None

    def outcome(self, signals: Signals) -> _Outcome:
        """Run the command to its end."""
        from milepost.command import Command

        # Ahead of the command, which may be cancelled as soon as anybody knows of it.
        self._cancellation.on_request(signals.wake)
        outputs = self._outputs(signals)
        try:
            command = Command(self._arguments, self._environ, *outputs)
        except OSError as error:
            self._begin_passing()
            return self._not_started(error)
        self._begin_passing()
        self._follow(command, signals)
        self._drain(signals)
        return self._ended(command)

    @property
    def last_words(self) -> str:
        """The last lines of standard error; of standard output when there are none."""
        outputs = 0 if self._passing is None else self._passing.number
        return next((said for output in reversed(range(outputs)) if (said := self._said.last_lines(output))), "")

    def _outputs(self, signals: Signals) -> tuple[int | None, int | None]:
        """What the command writes to: ours, when nothing is told of it."""
        if not self._reads_output:
            return None, None
        from milepost.passing import Passing

        self._passing = Passing(lambda output, data: self._said.feed(output, data, time.monotonic()), signals.wake)
        for _ in range(self._passing.number):
            self._said.output()
        return self._passing.stdout, self._passing.stderr

    def _begin_passing(self) -> None:
        if self._passing is not None:
            self._passing.begin()

    def _not_started(self, error: OSError) -> _Outcome:
        _say(f"{shlex.quote(self._arguments[0])}: {error.strerror}")
        reason = f"{shlex.quote(_program(self._arguments[0]))}: {error.strerror}"
        found = not isinstance(error, FileNotFoundError)
        return _Outcome("failed", reason, _NOT_EXECUTABLE if found else _NOT_FOUND)

    def _follow(self, command: Command, signals: Signals) -> None:
        """Until it has ended; once it has been told to, until nothing is left of it."""
        while True:
            came = signals.wait(_LOOK if self._killed_at is None else _LOOK_FOR_LEFT)
            command.reap()
            self._harmless(self._said.look)
            # At every look: who is stopped, or in the background, is not told that the terminal's size has changed.
            if self._passing is not None and self._passing.resize():
                command.resized()
            self._hear(command, came)
            if self._killed_at is None:
                if command.ended is not None:
                    return
            elif not command.left:
                command.reap()
                return
            elif time.monotonic() >= self._killed_at:
                if not command.kill():
                    _say("not everything that came of the command could be ended")
                return

    def _harmless(self, look: Callable[[float], None]) -> None:
        """What goes wrong with reading what the command says must not keep us from seeing how it ends."""
        try:
            look(time.monotonic())
        except Exception:
            logger.exception("what the command says is not told as it should be")

    def _hear(self, command: Command, came: set[int]) -> None:
        stop = signal.SIGTERM in came or self._cancellation.requested
        if stop and self._killed_at is None and command.ended is None:
            self._cancellation.request("SIGTERM")
            self._killed_at = time.monotonic() + self._grace
            command.ask_to_end()
        for number in came - {signal.SIGTERM, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH}:
            self._interrupted = self._interrupted or number in _INTERRUPTS
            command.pass_on(number)

    def _drain(self, signals: Signals) -> None:
        """Pass on what the command has written, for as long as somebody takes it, and nobody wants us to end."""
        if self._passing is None:
            return
        self._passing.drain()
        until = None if self._killed_at is None else time.monotonic() + _HELD_UP
        while not self._passing.over and (until is None or time.monotonic() < until):
            came = signals.wait(_LOOK if until is None else _LOOK_FOR_LEFT)
            if until is None and (came & {signal.SIGTERM, *_INTERRUPTS} or self._cancellation.requested):
                until = time.monotonic() + _HELD_UP
        self._harmless(self._said.finish)

    def _ended(self, command: Command) -> _Outcome:
        code = command.ended if command.ended is not None else -signal.SIGKILL
        reason = f"exit status {code}" if code >= 0 else f"killed by {_signal_name(-code)}"
        status = "failed" if code else "completed"
        if self._killed_at is not None or (code and self._interrupted):
            status = "cancelled"
        by_interrupt = code == -signal.SIGINT and command.has_terminal
        ended = _Outcome(status, reason, code if code >= 0 else _SIGNALLED - code, by_interrupt)
        lost = None if self._passing is None else self._passing.failure
        return ended if lost is None else self._not_written(ended, lost)

    def _not_written(self, ended: _Outcome, lost: str) -> _Outcome:
        """The command has ended without knowing that its output is not all there, or of the SIGPIPE that told it so."""
        reason = f"standard output: {lost}"
        _say(reason)
        if ended.status == "completed":
            return _Outcome("failed", reason, _NOT_WRITTEN)
        by_pipe = ended.status == "failed" and ended.code == _SIGNALLED + signal.SIGPIPE
        return ended._replace(reason=reason) if by_pipe else ended


class _FirstWarning(logging.Handler):
    """What keeps a job from being reported is told once, in one line."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told = True
            _say(record.getMessage())


def _program(word: str) -> str:
    """What is told of a command's first word: when a whole command line was given as one, what stands behind is not."""
    return word if shutil.which(word) else next(iter(word.split()), "")


def _stand_in_for_closed_outputs() -> None:
    """Descriptors that were closed for us would be given to what we open, and the command would write to that.

    What stands in for them is not inherited: for the command, standard input is as closed as it was.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest that is free
            os.open(os.devnull, os.O_RDWR)


def _say(line: str) -> None:
    # AttributeError: Python has none when it was closed.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"milepost: {line}\n")
        sys.stderr.flush()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _leave(outcome: _Outcome) -> NoReturn:
    """End as the command has: a shell's script goes on after Ctrl-C unless it sees that this ended us, too."""
    if outcome.by_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(outcome.code)
