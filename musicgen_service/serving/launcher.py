"""Runs a command that ends with its parent process: `python launcher.py COMMAND ...`, with a pipe as standard input.

The other end of the pipe closes when the parent ends for any reason, SIGKILL included. The launcher then kills its
process group, to which the command and its children belong. It must be started as the leader of that group. It imports
little, because it stays in memory.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Run the command; exits with its status, or 128 + N where signal N ended it."""
    # The signal must reach this thread: delivered to the other one, it would not interrupt the wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_kill_group_after_parent, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    status = command.wait()
    sys.exit(128 - status if status < 0 else status)


def _kill_group_after_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
