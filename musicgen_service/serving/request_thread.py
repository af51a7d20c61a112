"""A thread for each request, beside the event loop of Cog's server."""

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from cog import CancelationException

_T = TypeVar("_T")


async def run(work: Callable[[], _T]) -> _T:
    """Run `work` in a thread of its own, in a copy of this context, to which Cog binds what is logged.

    When the task is cancelled, `CancelationException` is raised in the thread. The thread serves no other request, so
    nothing else can be hit by it.
    """
    thread = _RequestThread(work)
    try:
        thread.start()
        return await thread.result
    except BaseException:  # Cog may also raise its own `CancelationException` here
        thread.cancel()
        raise


class _RequestThread:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self._work = work
        self._lock = threading.Lock()
        self._is_working = True
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="request", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def cancel(self) -> None:
        """Raise `CancelationException` in the thread, if the work has not ended."""
        with self._lock:
            if self._is_working and self._thread.ident is not None:
                kind = ctypes.py_object(CancelationException)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), kind)

    def _run(self) -> None:
        # The exception of a cancel that comes after the work has ended has nowhere to go.
        with suppress(CancelationException):
            value, error = None, None
            try:
                value = self._work()
            except BaseException as raised:
                error = raised
            with self._lock:
                self._is_working = False
            # The server may have ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._finish, value, error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self.result.done():
            return  # cancelled
        if error is None:
            self.result.set_result(value)
        else:
            self.result.set_exception(error)
