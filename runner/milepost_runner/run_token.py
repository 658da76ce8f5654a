"""`RunToken`: a handler's token, whose callbacks hold up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

from milepost_reporter.cancel import CancelToken


class RunToken(CancelToken):
    """Who requests it goes on at once: what the handler wants called back may end its thread, or never come back."""

    def _call_back(self, callbacks: list[Callable[[], object]]) -> None:
        if not callbacks:
            return
        call = super()._call_back
        try:
            threading.Thread(target=call, args=(callbacks,), name="milepost-cancel", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            call(callbacks)
