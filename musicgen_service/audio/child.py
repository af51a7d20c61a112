"""A child process that is fed, waited for, and ended with all that it has started when the request is cancelled."""

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

_POLL_INTERVAL = 0.05
"""Seconds between two looks whether the request was cancelled."""
_PIECE = 2**18
"""Bytes sent or received at once, at most."""


def run(command: Sequence[str], data: memoryview) -> subprocess.CompletedProcess[bytes]:
    """Run a command with `data` as its standard input; a cancel ends it and its children before it is passed on.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    outcome: list[subprocess.CompletedProcess[bytes] | Exception] = []
    cancelled, done = threading.Event(), threading.Event()

    def attend() -> None:
        try:
            outcome.append(_run(command, data, cancelled))
        except Exception as error:
            outcome.append(error)
        finally:
            done.set()

    # A cancel is raised in the thread of the request at any moment, even between the start of a process and the line
    # that remembers it; in a thread of its own the process is never without its handle.
    thread = threading.Thread(target=attend, name="child", daemon=True)
    try:
        thread.start()
        while not done.wait(_POLL_INTERVAL):
            pass
    except BaseException:
        cancelled.set()
        # The cancel may have come before the thread was there.
        while not done.wait(_POLL_INTERVAL) and thread.ident is not None:
            pass
        raise
    [result] = outcome
    if isinstance(result, Exception):
        raise result
    return result


def _run(command: Sequence[str], data: memoryview, cancelled: threading.Event) -> subprocess.CompletedProcess[bytes]:
    # Not `Popen.communicate`: given a timeout, it forgets in its second call what was to be sent.
    pipe, received = subprocess.PIPE, {"stdout": b"", "stderr": b""}
    # In a session of its own, so that it and its children are a group that can be ended as one.
    with (
        selectors.DefaultSelector() as selector,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process,
    ):
        assert process.stdin and process.stdout and process.stderr
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        while selector.get_map():
            if cancelled.is_set():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            for key, _ in selector.select(_POLL_INTERVAL):
                if key.fileobj is process.stdin:
                    data = data[_sent(key.fd, data) :]
                    if not data:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                elif piece := os.read(key.fd, _PIECE):
                    received[key.data] += piece
                else:
                    selector.unregister(key.fileobj)
    return subprocess.CompletedProcess(command, process.returncode, **received)


def _sent(pipe: int, data: memoryview) -> int:
    """How many bytes need no longer be sent to a pipe, which takes what it has room for."""
    try:
        return os.write(pipe, data[:_PIECE])
    except BrokenPipeError:
        return len(data)  # nobody reads them any more
