"""Cancellation as Cog does it."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from tests.support.harness import TIMEOUT


class Cancelled(BaseException):
    """Like Cog's: not an Exception, raised in the thread of the request at any point."""


def cancelled_when(reached: threading.Event, work: Callable[[], Any]) -> BaseException | None:
    """Run `work` in a thread and cancel it as Cog does once `reached` is set; returns the exception it ended with."""
    ended: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    assert reached.wait(TIMEOUT), ended
    assert thread.ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    return ended[0] if ended else None
