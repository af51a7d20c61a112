"""CPU and memory limits that control groups set on this process, as in containers.

Source: the kernel's documentation, admin-guide/cgroup-v2 and admin-guide/cgroup-v1. Version 2 has one hierarchy
with every limit, version 1 has one for each controller; a machine may mount both.
"""

import math
from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float:
    """CPU time that this process may use, in processors, such as 1.5; infinity without a limit."""
    quotas = [math.inf]
    for group in _groups("cpu", mount, membership):
        match _numbers(group / "cpu.max") or [
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ]:
            case [quota, period] if 0 < quota < math.inf and period > 0:
                quotas.append(quota / period)
    return min(quotas)


def free_memory(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float:
    """Bytes that this process may still allocate; infinity without a limit."""
    free = [math.inf]
    for group in _groups("memory", mount, membership):
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            match [*_numbers(group / limit), *_numbers(group / usage)]:
                case [allowed, used]:
                    free.append(max(0.0, allowed - used))
    return min(free)


def _groups(controller: str, mount: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, from its own up to the root: each may set a limit."""
    lines = membership.read_text().splitlines() if membership.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 has no controllers here, and lies at the mount's root or, beside version 1, in `unified`.
        roots = [mount / controllers, mount / controller] if controllers else [mount, mount / "unified"]
        # In a container the path may be the host's, of which only the root is visible.
        for root in roots:
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root) and folder.is_dir())


def _numbers(file: Path) -> list[float]:
    """Read the numbers in a limit's file, with `max` as infinity; empty when it is missing or cannot be read."""
    try:
        return [math.inf if word == "max" else float(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
