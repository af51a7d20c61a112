"""Real-time priority while something is timed, so that other work on the machine does not disturb it."""

import os
import sys
from pathlib import Path

_LEVEL = 20
_TASKS = Path("/proc/self/task")
"""The threads of this process, those of libraries too; Linux has it."""


def set_real_time(on: bool) -> None:
    """Give all threads of this process real-time priority, or the usual one again.

    Raises
    ------
    SystemExit
        Where the system does not allow it.
    """
    policy, parameters = (os.SCHED_RR, os.sched_param(_LEVEL)) if on else (os.SCHED_OTHER, os.sched_param(0))
    for task in _TASKS.iterdir():
        try:
            os.sched_setscheduler(int(task.name), policy, parameters)
        except ProcessLookupError:
            continue  # it has ended meanwhile
        except PermissionError:
            sys.exit("Real-time priority is for root, or needs `ulimit -r 20`: leave --real-time out.")
