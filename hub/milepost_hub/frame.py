"""Bytes as one WebSocket text frame, encoded once for everybody.

A server's frames are not masked (RFC 6455, section 5.1), so without compression the same bytes serve every client.
"""

from __future__ import annotations

from struct import Struct

_FIN_TEXT = 0x81
_SHORT = Struct("!BB").pack
_MEDIUM = Struct("!BBH").pack
_LONG = Struct("!BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """Return the frame that carries this UTF-8 text (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - the figures of section 5.2
        return _SHORT(_FIN_TEXT, size) + payload
    if size < 65_536:  # noqa: PLR2004
        return _MEDIUM(_FIN_TEXT, 126, size) + payload
    return _LONG(_FIN_TEXT, 127, size) + payload


def text_of(frame: bytes) -> bytes:
    """Return the text in one of these frames."""
    size = frame[1]
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]  # noqa: PLR2004 - the figures of section 5.2
