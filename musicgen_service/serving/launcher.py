"""Runs a command that does not outlive whoever started it: `python launcher.py COMMAND ...`, standard input a pipe.

The other end of the pipe closes when the process that holds it ends, whatever ended it, also a signal that it cannot
handle. The launcher then kills its process group, which the command and all that it started belong to. It must be
started as the leader of that group. It imports little, because it stays in memory.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Run the command; exits with its status, or 128 + N where signal N ended it."""
    # The signal is for this thread, which it would not wake from its wait were it delivered to the other one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    status = command.wait()
    sys.exit(128 - status if status < 0 else status)


def _end_with_the_starter() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
