"""Cancellation as Cog does it."""

import ctypes
import sys
import threading
from collections.abc import Callable
from types import FrameType
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


def cancelled_at(place: int, work: Callable[[], Any]) -> bool:
    """Run `work` in a thread that is cancelled at one of the places where Python looks; whether it has so many.

    It looks where a function begins, and after a call of one in C.

    Parameters
    ----------
    place : its number among them
    """
    left = place

    def profile(_frame: FrameType, kind: str, _argument: object) -> None:
        nonlocal left
        if kind in ("call", "c_return"):
            left -= 1
            if left < 0:
                raise Cancelled

    def target() -> None:
        try:
            sys.setprofile(profile)
            work()
        except Cancelled:
            pass
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    return left < 0
