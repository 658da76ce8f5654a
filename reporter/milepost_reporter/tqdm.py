"""tqdm's bars, reporting: `tqdm` and `trange` to import in place of tqdm's own, `adopt_tqdm()` for bars as they are.

Both hook what tqdm calls at its own refresh rate and at a bar's beginning and end, and nothing that it calls for each
iteration: `__init__`, `refresh` and `close`, and for lines off a terminal `display` and `clear`. Whatever reporting
raises is counted by the reporter (`stats.refused`) and goes no further.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Hashable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

try:
    from tqdm import auto, std
except ImportError as error:
    raise ImportError("milepost_reporter.tqdm needs tqdm: pip install 'milepost-reporter[tqdm]'") from error

from milepost_reporter import bars, current
from milepost_reporter.bar_line import Reading, plain
from milepost_reporter.bars import Bar
from milepost_reporter.ending import Ending

if TYPE_CHECKING:
    from milepost_reporter.reporter import Reporter

T = TypeVar("T")

LINE_INTERVAL: Final = 10.0
"""Seconds between two lines of one bar off a terminal, unless MILEPOST_LINE_INTERVAL says otherwise."""

_DEFAULT_NAME: Final = "progress"

# What a bar carries of ours.
_BAR: Final = "_milepost_bar"
_WAY: Final = "_milepost_way"
_SHOWN: Final = "_milepost_shown"
"""There once tqdm's own `display` was called: a class with one of its own may show its bars somewhere else."""

# How it is printed: as tqdm does, as lines, or not at all.
_DRAWN: Final = "drawn"
_LINES: Final = "lines"
_SILENT: Final = "silent"


class Adoption:
    """What `adopt_tqdm()` has changed. `with` or `restore()` changes it back."""

    def __init__(self, reporter: Reporter | None) -> None:
        self._reporter_before = _adopted.reporter
        self._first = not _adopted.originals
        if reporter is not None:
            _adopted.reporter = reporter
        if self._first:
            _adopted.hook()

    def restore(self) -> None:
        """tqdm as it was before. Bars that are open by then report no more."""
        _adopted.reporter = self._reporter_before
        if self._first:
            _adopted.unhook()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


class _Adopted:
    """tqdm's own class, while it is hooked, and whose its bars are."""

    def __init__(self) -> None:
        self.reporter: Reporter | None = None
        self.originals: dict[str, Any] = {}

    def hook(self) -> None:
        cls = std.tqdm
        self.originals = {name: vars(cls)[name] for name in _HOOKS}
        _hook(cls)

    def unhook(self) -> None:
        for name, original in self.originals.items():
            setattr(std.tqdm, name, original)
        self.originals = {}


_adopted: Final = _Adopted()


def adopt_tqdm(reporter: Reporter | None = None) -> Adoption:
    """From now on every bar of tqdm's reports, whoever makes it and whenever its class was imported.

    To `reporter`, or else to that of the code that makes the bar. Doing it again changes nothing but the reporter.
    """
    return Adoption(reporter)


# Hooks


def _init(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def __init__(bar: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, N807 - as tqdm's own
        _harmless(_enable, bar, kwargs)
        original(bar, *args, **kwargs)
        _harmless(_begin, bar)

    return __init__


def _refresh(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def refresh(bar: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        shown = original(bar, *args, **kwargs)
        _harmless(_show, bar)
        return shown

    return refresh


def _display(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def display(bar: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        bar.__dict__[_SHOWN] = True
        return original(bar, *args, **kwargs) if _way(bar) is _DRAWN else True

    return display


def _clear(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def clear(bar: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return original(bar, *args, **kwargs) if _way(bar) is _DRAWN else None

    return clear


def _close(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def close(bar: Any) -> Any:  # noqa: ANN401
        _harmless(_end, bar)
        if _SHOWN not in bar.__dict__ or _way(bar) is _DRAWN:
            return original(bar)
        # Its line break and carriage return are not for lines.
        written_to, bar.fp = bar.fp, _Nowhere()
        try:
            return original(bar)
        finally:
            bar.fp = written_to

    return close


_HOOKS: Final[dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "__init__": _init,
    "refresh": _refresh,
    "display": _display,
    "clear": _clear,
    "close": _close,
}


def _hook(cls: type) -> None:
    hooked = {name: hook(getattr(cls, name)) for name, hook in _HOOKS.items()}
    for name, method in hooked.items():
        setattr(cls, name, method)


class _Nowhere:
    """An output that forgets."""

    def write(self, text: str) -> None:
        return

    def flush(self) -> None:
        return


# What they do. A bar whose class and tqdm's own are both hooked comes here twice: the second time finds it done.


def _harmless(act: Callable[..., None], bar: Any, *values: Any) -> None:  # noqa: ANN401
    try:
        act(bar, *values)
    except Exception as error:
        with contextlib.suppress(Exception):
            _reporter().refuse("bar", error)


def _reporter() -> Reporter:
    return _adopted.reporter or current.current()


def _enable(bar: Any, given: dict[str, Any]) -> None:  # noqa: ANN401
    """One that would disable itself off a terminal goes on without being seen, when it has somebody to report to."""
    if "disable" not in given or given["disable"] is not None:
        return
    if type(bar).display not in (std.tqdm.display, tqdm.display):
        return
    output = given.get("file") or sys.stderr
    if hasattr(output, "isatty") and not output.isatty() and _reporter().enabled:
        given["disable"] = False
        bar.__dict__[_WAY] = _SILENT


def _begin(bar: Any) -> None:  # noqa: ANN401
    if not bar.disable and bar.delay <= 0:
        _open(bar)


def _open(bar: Any) -> None:  # noqa: ANN401
    """Make its node and print its first line, unless that was done."""
    if _BAR in bar.__dict__:
        return
    # Whatever comes of the rest, it is not tried at each refresh.
    bar.__dict__[_BAR] = None
    if _read_elsewhere(bar):
        return
    reading = _reading(bar)
    opened = bars.open_bar(_reporter(), _place(bar), abs(bar.pos), reading)
    bar.__dict__[_BAR] = opened
    _write_line(bar, opened, reading)


def _show(bar: Any) -> None:  # noqa: ANN401
    if bar.disable or not hasattr(bar, "start_t"):
        return
    if _BAR not in bar.__dict__:
        _open(bar)
        return
    opened: Bar | None = bar.__dict__[_BAR]
    if opened is not None:
        reading = _reading(bar)
        opened.show(reading)
        _write_line(bar, opened, reading)


def _end(bar: Any) -> None:  # noqa: ANN401
    opened: Bar | None = bar.__dict__.get(_BAR)
    if opened is None or getattr(bar, "disable", True):
        return
    bar.__dict__[_BAR] = None
    reading = _reading(bar, whole=True)
    ending = _ending(bar)
    opened.close(reading, ending)
    if _way(bar) is _LINES and _stays(bar):
        _write(bar, opened.last_line(reading, line_interval(), ending))


def _stays(bar: Any) -> bool:  # noqa: ANN401
    return bool(bar.pos == 0 if bar.leave is None else bar.leave)


def _ending(bar: Any) -> Ending:  # noqa: ANN401
    """How it came to its end, as far as that can be told from who closes it.

    An exception tells when it is one that the code which closes the bar is being left by; not one that somebody
    further out is handling. A generator that is left by `break`, or by an exception of the loop's body, is left by
    GeneratorExit.
    """
    closer = _closer(sys._getframe(1))
    if closer is not None and closer.f_code.co_name == "__del__":
        return Ending("cancelled" if bar.total and bar.n < bar.total else "completed")
    error = sys.exc_info()[1]
    if error is None or isinstance(error, StopIteration | StopAsyncIteration):
        return Ending("completed")
    raised = error.__traceback__
    return Ending.of(error if raised is not None and raised.tb_frame is closer else None)


def _closer(frame: FrameType | None) -> FrameType | None:
    """The frame whose decision it was."""
    while frame is not None and (
        frame.f_code.co_name in ("close", "__exit__") or frame.f_globals.get("__name__") == __name__
    ):
        frame = frame.f_back
    return frame


def _reading(bar: Any, *, whole: bool = False) -> Reading:  # noqa: ANN401
    """What it shows; its rate as tqdm smooths it, or over the `whole` of its time."""
    shown = bar.format_dict
    by = shown["unit_scale"]
    scale = 1 if isinstance(by, bool) or not by else by
    n, total, elapsed, rate = shown["n"] * scale, shown["total"], shown["elapsed"], shown["rate"]
    if (whole or rate is None) and elapsed > 0:
        rate = (shown["n"] - shown["initial"]) / elapsed
    return Reading(
        name=plain(shown["prefix"]).removesuffix(":") or _DEFAULT_NAME,
        n=n,
        total=None if total is None else total * scale,
        unit=plain(str(shown["unit"])),
        message=None if shown["postfix"] is None else plain(str(shown["postfix"])),
        elapsed=elapsed,
        rate=None if rate is None else rate * scale,
        divisor=shown["unit_divisor"] if scale == 1 and by else None,
    )


def _place(bar: Any) -> Hashable:  # noqa: ANN401
    """Where the program makes it, and under which name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_between(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return (bar.desc, frame and frame.f_code, frame and frame.f_lineno)


def _is_between(module: str) -> bool:
    return module == __name__ or module.partition(".")[0] == "tqdm"


# What is printed


def line_interval() -> float:
    """Seconds between two lines of a bar off a terminal; 0: bars are drawn there as on one."""
    try:
        return max(0.0, float(os.environ.get("MILEPOST_LINE_INTERVAL") or LINE_INTERVAL))
    except ValueError:
        return LINE_INTERVAL


def _way(bar: Any) -> str:  # noqa: ANN401
    if getattr(bar, "gui", False):
        return _DRAWN
    way: str | None = bar.__dict__.get(_WAY)
    if way is None:
        way = bar.__dict__[_WAY] = _LINES if line_interval() > 0 and not _is_screen(bar.fp) else _DRAWN
    return way


def _is_screen(output: Any) -> bool:  # noqa: ANN401
    """Whether a carriage return takes back a line there: on a terminal, and under a notebook's cell."""
    if hasattr(output, "isatty") and output.isatty():
        return True
    written_to = getattr(output, "_wrapped", output)
    return type(written_to).__module__ == "ipykernel.iostream"


def _read_elsewhere(bar: Any) -> bool:  # noqa: ANN401
    """Whether whoever speaks for the job recognises it in what the program prints."""
    return os.environ.get("MILEPOST_OWNER") == "no" and _SHOWN in bar.__dict__ and _way(bar) is _DRAWN


def _write_line(bar: Any, opened: Bar, reading: Reading) -> None:  # noqa: ANN401
    if _way(bar) is _LINES:
        _write(bar, opened.line(reading, line_interval()))


def _write(bar: Any, line: str | None) -> None:  # noqa: ANN401
    if line is not None and _SHOWN in bar.__dict__:
        bar.fp.write(line + "\n")
        # As tqdm does, which takes whatever can be written to.
        getattr(bar.fp, "flush", lambda: None)()


# To import in place of tqdm's own

if TYPE_CHECKING:
    from tqdm.asyncio import tqdm as _tqdm

    class tqdm(_tqdm[T]):  # noqa: D101, N801
        pass
else:

    class tqdm(auto.tqdm):  # noqa: N801 - tqdm's own name
        """tqdm's bar, with its arguments, which is also a node of the job.

        In a notebook it is the notebook's bar, elsewhere the terminal's; for `for` and `async for`.
        """


_hook(tqdm)


def trange(*args: int, **more: Any) -> tqdm[int]:  # noqa: ANN401 - tqdm's arguments
    """`tqdm(range(*args), **more)`."""
    return tqdm(range(*args), **more)


__all__ = ["Adoption", "adopt_tqdm", "tqdm", "trange"]
