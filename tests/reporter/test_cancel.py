"""The token that tells a job to stop: from threads, from event loops, from inside its own callbacks."""

import asyncio
import threading

import pytest
from milepost_reporter import Cancelled, CancelToken

from tests.waiting import eventually, eventually_async


def test_it_is_asked_once_and_the_first_reason_stays() -> None:
    token = CancelToken()
    assert (token.requested, token.reason) == (False, None)
    token.raise_if_requested()
    assert token.request("too slow")
    assert not token.request("too dear")
    assert (token.requested, token.reason) == (True, "too slow")
    with pytest.raises(Cancelled, match="too slow"):
        token.raise_if_requested()


def test_no_exception_handler_of_the_jobs_swallows_it() -> None:
    assert not issubclass(Cancelled, Exception)


def test_of_many_who_ask_at_once_one_is_the_first() -> None:
    """And everything that was to be called back is, once."""
    token = CancelToken()
    called: list[int] = []
    for number in range(100):
        token.on_request(lambda number=number: called.append(number))  # type: ignore[misc]
    first: list[bool] = []
    at_once = threading.Barrier(8)

    def ask() -> None:
        at_once.wait(10)
        first.append(token.request())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(first) == [False] * 7 + [True]
    assert called == list(range(100))


def test_callbacks_that_come_while_it_is_asked_are_all_called_once() -> None:
    token = CancelToken()
    called: list[int] = []
    at_once = threading.Barrier(2)

    def add() -> None:
        at_once.wait(10)
        for number in range(2_000):
            token.on_request(lambda number=number: called.append(number))  # type: ignore[misc]

    adding = threading.Thread(target=add)
    adding.start()
    at_once.wait(10)
    token.request()
    adding.join(10)
    assert sorted(called) == list(range(2_000))


def test_a_thread_waits_for_it() -> None:
    token = CancelToken()
    assert not token.wait(0)
    heard = threading.Event()

    def wait() -> None:
        if token.wait(20):
            heard.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    token.request()
    waiting.join(20)
    assert heard.is_set()


def test_a_callback_may_ask_again_and_add_another() -> None:
    """It is inside the request, and the request has been made."""
    token = CancelToken()
    told: list[str] = []

    def first() -> None:
        assert not token.request()
        token.on_request(lambda: told.append("inner"))
        told.append("outer")

    token.on_request(first)
    token.on_request(lambda: told.append("next"))
    assert token.request()
    assert told == ["inner", "outer", "next"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), Cancelled("mine")])
def test_a_callback_that_raises_holds_up_nobody(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    token = CancelToken()
    told: list[str] = []

    def broken() -> None:
        raise error

    token.on_request(broken)
    token.on_request(lambda: told.append("after it"))
    assert token.request()
    token.on_request(broken)
    assert told == ["after it"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_coroutine_awaits_what_another_thread_asks() -> None:
    token = CancelToken()

    async def wait() -> bool:
        await token
        return token.requested

    waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
    await eventually_async(lambda: len(token._callbacks) == 3)
    threading.Thread(target=token.request).start()
    assert await asyncio.gather(*waiting) == [True] * 3
    await token


def test_coroutines_of_several_loops_await_it() -> None:
    token = CancelToken()
    done: list[int] = []

    async def wait(number: int) -> None:
        await token
        done.append(number)

    threads = [threading.Thread(target=lambda number=number: asyncio.run(wait(number))) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(token._callbacks) == 4)
    token.request()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1, 2, 3]


async def test_one_who_no_longer_waits_leaves_nothing_behind() -> None:
    """A handler may race its work against the token a million times."""
    token = CancelToken()

    async def wait() -> None:
        await token

    for _ in range(10):
        waiting = asyncio.ensure_future(wait())
        await eventually_async(lambda: token._callbacks)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert not token._callbacks
    assert token.request()


def test_a_loop_that_has_been_closed_with_somebody_waiting() -> None:
    """It is told nothing, and the others are."""
    token = CancelToken()
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        await token

    waiting = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert len(token._callbacks) == 1
    tell = token._callbacks[0]
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting]))
    loop.close()
    token.on_request(tell)
    told: list[bool] = []
    token.on_request(lambda: told.append(True))
    assert token.request()
    assert told == [True]
