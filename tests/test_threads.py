"""Wait policy and number of torch's threads."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from musicgen_service import cgroups, threads
from musicgen_service.threads import NUMPY_THREADS, WAIT_POLICY
from tests.support.cancelling import Cancelled, cancelled_at, cancelled_when
from tests.support.harness import TIMEOUT

PREDICT = ["predict", "-i", "prompt=rock", "-i", "model_version=demo"]
WAYS_IN = {
    "command line": ["-m", "musicgen_service", *PREDICT],
    "predictor": ["-c", "import predict, musicgen_service.service"],
    "drop-in": ["-c", "import compat.m3maker, musicgen_service.service"],
    "benchmark": ["-m", "bench.speed"],
    "benchmark as a script": ["bench/speed.py"],
    "demo training": ["-m", "demo.training"],
    "tests": ["-m", "pytest", "--collect-only", "tests/test_threads.py"],
}
CPU_CONTROLLER = Path("/sys/fs/cgroup/cpu")
IN_PLACE_OF_TORCH = """
import os, pathlib
pathlib.Path(os.environ["FOUND"]).write_text(os.environ.get("GOMP_SPINCOUNT", "not set"))
os._exit(0)
"""


def run(command: list[str], *wrapper: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python command in an environment without thread variables except `settings`."""
    removed = ("OMP_NUM_THREADS", NUMPY_THREADS, *WAIT_POLICY)
    environment = {name: value for name, value in os.environ.items() if name not in removed} | settings
    return subprocess.run(
        [*wrapper, sys.executable, *command], env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("way", WAYS_IN)
def test_the_wait_policy_is_set_before_torch_is_loaded(way: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(IN_PLACE_OF_TORCH)
    run(WAYS_IN[way], PYTHONPATH=str(tmp_path), FOUND=str(tmp_path / "found"))
    assert (tmp_path / "found").read_text() == "0"


def spin_counts(**settings: str) -> set[str]:
    """The spin counts that torch's OpenMP library reports."""
    output = run(["-c", "import musicgen_service, torch"], OMP_DISPLAY_ENV="VERBOSE", **settings).stderr
    return {line.partition("=")[2].strip(" '") for line in output.splitlines() if "GOMP_SPINCOUNT" in line}


def test_threads_sleep_while_they_wait() -> None:
    assert spin_counts() == {"0"}


def test_a_wait_policy_of_the_environment_is_kept() -> None:
    assert spin_counts(GOMP_SPINCOUNT="77") == {"77"}
    assert "0" not in spin_counts(OMP_WAIT_POLICY="ACTIVE")


def numpy_threads(**settings: str) -> set[int]:
    """The numbers of threads that the libraries of numpy's products report."""
    code = "import musicgen_service, numpy, threadpoolctl as t; print([i['num_threads'] for i in t.threadpool_info()])"
    return set(json.loads(run(["-c", code], **settings).stdout))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="torch reads the same variable")
def test_numpys_products_have_one_thread_unless_the_environment_says_otherwise() -> None:
    assert numpy_threads() == {1}
    assert numpy_threads(OPENBLAS_NUM_THREADS="2") == {min(2, len(os.sched_getaffinity(0)))}


def limit(*wrapper: str, **settings: str) -> int:
    return int(run(["-c", "from musicgen_service import threads; print(threads.limit())"], *wrapper, **settings).stdout)


def test_threads_follow_the_affinity_mask() -> None:
    first = min(os.sched_getaffinity(0))
    assert limit() == len(os.sched_getaffinity(0))
    assert limit("taskset", "--cpu-list", str(first)) == 1


@pytest.fixture
def one_processor() -> Iterator[Path]:
    """A control group limited to the time of one processor."""
    group = CPU_CONTROLLER / f"musicgen-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield group
    group.rmdir()


@pytest.mark.slow
def test_threads_follow_a_real_quota(one_processor: Path) -> None:
    within = ["sh", "-c", f'echo $$ > {one_processor}/cgroup.procs; exec "$@"', "sh"]
    assert limit(*within) == 1
    assert limit(*within, OMP_NUM_THREADS="2") == 2  # chosen by the user


def written(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")


def test_tightest_limit_of_all_groups_applies(tmp_path: Path) -> None:
    written(tmp_path, cpu__max="max 100000")
    written(tmp_path / "machine", cpu__max="150000 100000", memory__max="1000", memory__current="400")
    written(tmp_path / "machine" / "service", cpu__max="400000 100000", memory__max="max", memory__current="300")
    written(tmp_path / "elsewhere", cpu__max="1000 100000")
    written(tmp_path / "proc", cgroup="0::/machine/service")
    assert cgroups.cpu_quota(tmp_path, tmp_path / "proc" / "cgroup") == 1.5
    assert cgroups.free_memory(tmp_path, tmp_path / "proc" / "cgroup") == 600


def test_cgroup_version_1_is_supported(tmp_path: Path) -> None:
    written(tmp_path / "cpu,cpuacct" / "a", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    written(tmp_path / "cpu,cpuacct", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    written(tmp_path / "memory" / "a", memory__limit_in_bytes="5000", memory__usage_in_bytes="6000")
    written(tmp_path / "proc", cgroup="4:cpu,cpuacct:/a\n3:cpuset:/\n2:memory:/a\n0::/")
    assert cgroups.cpu_quota(tmp_path, tmp_path / "proc" / "cgroup") == 0.5
    assert cgroups.free_memory(tmp_path, tmp_path / "proc" / "cgroup") == 0


def test_limit_applies_in_a_container_that_sees_only_its_group(tmp_path: Path) -> None:
    written(tmp_path, cpu__max="200000 100000")
    written(tmp_path / "proc", cgroup="0::/docker/0123456789")
    assert cgroups.cpu_quota(tmp_path, tmp_path / "proc" / "cgroup") == 2


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroups.cpu_quota(tmp_path, tmp_path / "cgroup") == float("inf")
    assert cgroups.free_memory(tmp_path, tmp_path / "cgroup") == float("inf")


def test_a_thread_keeps_its_number_of_threads_whatever_others_set() -> None:
    before = torch.get_num_threads()
    has_chosen, has_changed = threading.Event(), threading.Event()

    def choose() -> int:
        threads.use(1)
        has_chosen.set()
        assert has_changed.wait(60)
        return torch.get_num_threads()

    try:
        with ThreadPoolExecutor(1) as pool:
            kept = pool.submit(choose)
            assert has_chosen.wait(60)
            torch.set_num_threads(2)
            has_changed.set()
            assert kept.result() == 1
    finally:
        torch.set_num_threads(before)


def test_lock_is_held_by_one_thread_at_a_time() -> None:
    lock, inside, most = threads.CancellableLock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert most == 1


def test_cancelled_thread_stops_waiting_for_a_lock() -> None:
    lock, waiting = threads.CancellableLock(), threading.Event()

    def wait() -> None:
        waiting.set()
        with lock:
            raise AssertionError

    with lock:
        assert isinstance(cancelled_when(waiting, wait), Cancelled)
    with lock:
        pass


@pytest.mark.parametrize("is_held", [False, True])
def test_a_thread_that_is_cancelled_anywhere_keeps_no_lock(is_held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_POLL_INTERVAL", 0.001)

    def use(lock: threads.CancellableLock) -> None:
        with lock:
            pass

    for place in range(40):
        lock = threads.CancellableLock()
        if is_held:
            with lock:
                assert cancelled_at(place, partial(use, lock))  # it waits until then
        else:
            cancelled_at(place, partial(use, lock))
        other = threading.Thread(target=use, args=(lock,), daemon=True)
        other.start()
        other.join(TIMEOUT)
        assert not other.is_alive()


def test_lock_of_a_thread_that_has_ended_is_free() -> None:
    lock = threads.CancellableLock()
    thread = threading.Thread(target=lock.__enter__)
    thread.start()
    thread.join()
    with lock:
        pass


@pytest.mark.parametrize(("width", "threads_of_two"), [(320, 1), (512, 1), (1024, 2), (2048, 2)])
def test_small_networks_run_on_one_thread(width: int, threads_of_two: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "limit", lambda: 2)
    assert threads.for_width(width) == threads_of_two
