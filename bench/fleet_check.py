"""The simulation of `bench.fleet` beside a cluster on this machine, to which the same requests are sent."""

import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bench.fleet import Fleet, Request, arrivals, percentiles, simulated
from tests.support import ray_cluster
from tests.support.ray_cluster import SLOTS, RayCluster

import httpx

_REPLICAS = (1, 2, 3, 4)
_COUNT = 100
_LOAD = 0.75
"""What part of the slots is in use, in the mean."""
_ALONE = 20
"""Number of requests that are measured alone: the simulation is told how long one takes."""
_TARGET = 0.25
_MOMENT = 0.1
"""Seconds that a time may be apart whatever its length: half of the requests do not wait at all."""


def main() -> None:
    """Compare and print; ends with status 1 where a time is further apart than the target."""
    too_far = 0
    with tempfile.TemporaryDirectory() as folder, ray_cluster.running(Path(folder), MUSICGEN_QUEUE="1000") as cluster:
        cluster.deploy(1)
        measured = _measured(cluster, [Request(2.0 * number, 1.0) for number in range(_ALONE)])
        alone = statistics.median(seconds for _, seconds in measured)
        print(f"a request alone takes {alone:.2f} s\n")
        print(f"{'replicas':>8}  {'':10}  {'simulated':>9}  {'measured':>8}  {'apart':>6}")
        for count in _REPLICAS:
            cluster.deploy(count)
            fleet = Fleet(count, count, SLOTS, alone=1.0, together=float(SLOTS))
            requests = [
                replace(request, audio=alone)
                for request in arrivals("random", 60 * _LOAD * count * SLOTS / alone, _COUNT, alone, seed=count)
            ]
            done = simulated(fleet, requests).requests
            expected, measured = [(request.wait, request.seconds) for request in done], _measured(cluster, requests)
            for name, simulated_times, measured_times in zip(
                ("wait", "reply"), zip(*expected, strict=True), zip(*measured, strict=True), strict=True
            ):
                for part, a, b in zip((50, 99), percentiles(simulated_times), percentiles(measured_times), strict=True):
                    is_near = abs(a - b) <= max(_TARGET * b, _MOMENT)
                    too_far += not is_near
                    verdict = "" if is_near else "   too far"
                    print(f"{count:>8}  {name:>5} {part} %  {a:>7.2f} s  {b:>6.2f} s  {_apart(a, b)}{verdict}")
    target = f"{_TARGET:.0%}, or {_MOMENT} s"
    if too_far:
        sys.exit(f"{too_far} times are further apart than {target}")
    print(f"all times are within {target}")


def _apart(simulated: float, measured: float) -> str:
    return f"{simulated / measured - 1:>+6.0%}" if measured > _MOMENT else f"{'':6}"


def _measured(cluster: RayCluster, requests: Sequence[Request]) -> list[tuple[float, float]]:
    """Seconds that each request waited for its turn, and took, each sent by a client of its own at its time."""
    found: list[tuple[float, float]] = []
    start = time.monotonic() + 1

    def ask(request: Request) -> None:
        time.sleep(max(0.0, start + request.at - time.monotonic()))
        began = time.monotonic()
        address = f"{cluster.url}/predictions/{secrets.token_hex(8)}"
        reply = httpx.put(address, json={"input": {"prompt": "slow"}}, timeout=600)
        seconds = time.monotonic() - began
        assert reply.json()["status"] == "succeeded", reply.text
        job = httpx.get(address, timeout=600).json()
        asked, started = (datetime.fromisoformat(job[name]) for name in ("created_at", "started_at"))
        found.append(((started - asked).total_seconds(), seconds))

    threads = [threading.Thread(target=ask, args=[request]) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(requests), "a request failed"
    return found
