"""Running a child process with input and output; a cancelled request kills it together with its own children."""

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress

_POLL_INTERVAL = 0.05
"""Seconds between checks for a cancelled request."""
_CHUNK = 2**18
"""Maximum bytes sent or received at a time."""


def run(command: Sequence[str], data: memoryview) -> subprocess.CompletedProcess[bytes]:
    """Run a command with `data` as its standard input; a cancel kills it and its children and is then re-raised.

    Raises
    ------
    OSError
        When it cannot be started.
    """
    outcome: list[subprocess.CompletedProcess[bytes] | Exception] = []
    cancelled, done = threading.Event(), threading.Event()

    def work() -> None:
        try:
            outcome.append(_run(command, data, cancelled))
        except Exception as error:
            outcome.append(error)
        finally:
            done.set()

    # A cancel can be raised in the request's thread at any moment, even between the start of a process and the
    # assignment of its handle. In a separate thread, the handle cannot be lost.
    thread = threading.Thread(target=work, name="child", daemon=True)
    try:
        thread.start()
        while not done.wait(_POLL_INTERVAL):
            pass
    except BaseException:
        cancelled.set()
        # The cancel may have been raised before the thread was started.
        while not done.wait(_POLL_INTERVAL) and thread.ident is not None:
            pass
        raise
    [result] = outcome
    if isinstance(result, Exception):
        raise result
    return result


def _run(command: Sequence[str], data: memoryview, cancelled: threading.Event) -> subprocess.CompletedProcess[bytes]:
    # Not `Popen.communicate`: after a timeout, a second call does not send the remaining input.
    pipe, received = subprocess.PIPE, {"stdout": b"", "stderr": b""}
    # In its own session, so that it and its children are one process group that can be killed together.
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
                elif chunk := os.read(key.fd, _CHUNK):
                    received[key.data] += chunk
                else:
                    selector.unregister(key.fileobj)
    return subprocess.CompletedProcess(command, process.returncode, **received)


def _sent(pipe: int, data: memoryview) -> int:
    """Write as much as a pipe accepts; return the number of bytes that need not be sent again."""
    try:
        return os.write(pipe, data[:_CHUNK])
    except BrokenPipeError:
        return len(data)  # the reader has closed the pipe
