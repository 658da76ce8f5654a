"""Close codes carry the policy in their range, and their reasons fit a closing frame."""

from __future__ import annotations

import pytest
from milepost_hub.close import REASONS, CloseCode
from websockets.frames import Close

COME_BACK = range(4000, 4500)
STAY_AWAY = range(4500, 5000)


def test_codes_are_the_protocols() -> None:
    """Clients hold these numbers: they never change."""
    assert {code.name: code.value for code in CloseCode} == {
        "GOING_AWAY": 4001,
        "TOO_SLOW": 4002,
        "TOKEN_EXPIRED": 4003,
        "REVOKED": 4004,
        "BAD_TOKEN": 4500,
        "FORBIDDEN": 4501,
        "BAD_MESSAGE": 4502,
        "TOO_MANY": 4503,
    }


def test_every_code_has_a_reason() -> None:
    assert set(REASONS) == set(CloseCode)


@pytest.mark.parametrize("code", CloseCode)
def test_a_code_and_its_reason_fit_a_closing_frame(code: CloseCode) -> None:
    """RFC 6455, section 5.5: a control frame carries at most 125 bytes, two of them the code."""
    body = Close(code, code.reason).serialize()
    assert 2 < len(body) <= 125
    assert Close.parse(body) == Close(code, code.reason)


@pytest.mark.parametrize("code", CloseCode)
def test_a_reason_says_whether_to_come_back_as_its_range_does(code: CloseCode) -> None:
    assert (code in COME_BACK) != (code in STAY_AWAY)
    assert ("reconnect" in code.reason) == (code in COME_BACK)
