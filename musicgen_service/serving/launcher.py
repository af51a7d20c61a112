"""Runs a command that ends with its parent process: `python launcher.py COMMAND ...`, with a pipe as standard input.

The pipe closes when the parent ends for any reason, SIGKILL included. A process beside the command then kills the
process group, to which the command and its children belong; also where the launcher was killed before, as Ray kills the
children of a process that it ends. The launcher must be started as the leader of that group. It imports little, because
it stays in memory.
"""

import os
import signal
import subprocess
import sys


def main() -> None:
    """Run the command; exits with its status, or 128 + N where signal N ended it."""
    if not (guard := os.fork()):
        os.read(sys.stdin.fileno(), 1)
        os.killpg(0, signal.SIGKILL)
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    status = command.wait()
    os.kill(guard, signal.SIGKILL)
    sys.exit(128 - status if status < 0 else status)


if __name__ == "__main__":
    main()
