"""A thread for each request: its result, its errors, its context, and its end when the task is cancelled."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from cog import CancelationException

from musicgen_service.serving import request_thread
from tests.support.harness import wait_until

NAME = contextvars.ContextVar("name", default="nobody")


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(request_thread.run(work))


def test_result_and_errors_are_those_of_the_work() -> None:
    assert run(lambda: threading.current_thread().name) == "request"
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)


def test_each_request_has_its_own_thread_and_context() -> None:
    together = threading.Barrier(2)

    async def request(name: str) -> tuple[str, int | None]:
        NAME.set(name)

        def work() -> tuple[str, int | None]:
            together.wait(60)
            return NAME.get(), threading.get_ident()

        return await request_thread.run(work)

    async def both() -> tuple[tuple[str, int | None], tuple[str, int | None]]:
        return await asyncio.gather(request("a"), request("b"))

    (first, first_thread), (second, second_thread) = asyncio.run(both())
    assert (first, second) == ("a", "b") and first_thread != second_thread
    assert NAME.get() == "nobody"


def test_cancelled_request_ends_at_once_and_no_other_does() -> None:
    ended: list[BaseException] = []
    started = threading.Event()

    def endless() -> None:
        try:
            started.set()
            while True:
                time.sleep(0.001)
        except BaseException as error:
            ended.append(error)
            raise

    async def requests() -> str:
        cancelled = asyncio.create_task(request_thread.run(endless))
        await asyncio.to_thread(started.wait, 60)
        other = asyncio.create_task(request_thread.run(lambda: wait_until(lambda: bool(ended))))
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await other
        return await request_thread.run(lambda: "the next one")

    assert asyncio.run(requests()) == "the next one"
    assert [type(error) for error in ended] == [CancelationException]


def test_cancel_after_the_work_has_ended_has_no_effect(capsys: pytest.CaptureFixture[str]) -> None:
    async def request() -> None:
        thread = request_thread._RequestThread(lambda: 5)
        thread.start()
        assert await thread.result == 5
        thread.cancel()
        await asyncio.to_thread(thread._thread.join)

    asyncio.run(request())
    assert capsys.readouterr().err == ""


def test_error_after_a_cancel_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    resume, threads = threading.Event(), []

    def stubborn() -> None:
        threads.append(threading.current_thread())
        try:
            while not resume.is_set():
                time.sleep(0.001)
        except CancelationException:
            raise LookupError from None

    async def request() -> None:
        task = asyncio.create_task(request_thread.run(stubborn))
        while not threads:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(request())
    threads[0].join(60)
    assert not threads[0].is_alive() and capsys.readouterr().err == ""


def test_exception_of_cogs_own_ends_the_thread_too() -> None:
    started, ended = threading.Event(), threading.Event()

    def endless() -> None:
        try:
            started.set()
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    async def interrupted() -> None:
        waiting = request_thread.run(endless)
        waiting.send(None)
        assert started.wait(60)
        with pytest.raises(CancelationException):
            waiting.throw(CancelationException())

    asyncio.run(interrupted())
    assert ended.wait(10)
