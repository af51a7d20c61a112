"""Real-time priority while something is timed."""

import os
import threading

import pytest

from bench import priority


def test_all_threads_have_it_and_give_it_back() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pytest.skip("the system does not allow it here")
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    release, policies = threading.Event(), []
    identifier: list[int] = []

    def wait() -> None:
        identifier.append(threading.get_native_id())
        release.wait(60)

    other = threading.Thread(target=wait)
    other.start()
    try:
        while not identifier:
            pass
        for on in (True, False):
            priority.set_real_time(on)
            policies += [os.sched_getscheduler(0), os.sched_getscheduler(identifier[0])]
    finally:
        release.set()
        other.join()
    assert policies == [os.SCHED_RR] * 2 + [os.SCHED_OTHER] * 2


def test_a_system_that_does_not_allow_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(SystemExit, match="leave --real-time out"):
        priority.set_real_time(True)
