"""The thread of a step loop: it is started when needed, and no cancel of a caller keeps others from it."""

import itertools
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from musicgen_service.engine.loop_thread import Inbox
from tests.support.cancelling import cancelled_at
from tests.support.harness import wait_until


class Received:
    """In the place of a loop: takes what waits."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.sequences: list[Any] = []
        self.fails = False

    def run_until_idle(self) -> None:
        if self.fails:
            self.fails = False
            raise SystemExit
        self.inbox.take()
        self.sequences.extend(self.inbox.waiting)
        self.inbox.waiting.clear()


@pytest.fixture
def received() -> Iterator[Received]:
    inbox = Inbox()
    yield Received(inbox)
    inbox.close()


def submit(received: Received, *sequences: Any) -> None:
    received.inbox.put(sequences, lambda: received)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of threads that hardly started
def test_a_caller_that_is_cancelled_anywhere_keeps_no_other_from_the_loop() -> None:
    for number in itertools.count():
        inbox = Inbox()
        fresh = Received(inbox)
        was_cancelled = cancelled_at(number, partial(submit, fresh, "cancelled"))
        submit(fresh, "next")
        wait_until(partial(fresh.sequences.__contains__, "next"))
        inbox.close()
        if not was_cancelled:
            break
    assert number > 10


def test_callers_that_come_first_together_start_one_thread(received: Received) -> None:
    callers = [threading.Thread(target=submit, args=(received, number)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    wait_until(lambda: len(received.sequences) == 8)
    assert received.inbox.count == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_replaced(received: Received) -> None:
    received.fails = True
    submit(received, "first")
    wait_until(lambda: not received.fails and received.inbox.thread is not None)
    thread = received.inbox.thread
    assert thread is not None
    thread.join(60)
    submit(received, "second")
    wait_until(lambda: received.sequences == ["first", "second"])


def test_nothing_is_taken_after_the_end(received: Received) -> None:
    submit(received, 1)
    received.inbox.close()
    thread = received.inbox.thread
    assert thread is None or not thread.is_alive()
    with pytest.raises(RuntimeError, match="has ended"):
        submit(received, 2)
