"""The simulation of `bench.fleet` beside a cluster on this machine, to which the same requests are sent."""

import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
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


def main() -> None:
    """Compare and print."""
    with tempfile.TemporaryDirectory() as folder, ray_cluster.running(Path(folder), MUSICGEN_QUEUE="1000") as cluster:
        cluster.deploy(1)
        alone = statistics.median(_measured(cluster, [Request(2.0 * number, 1.0) for number in range(_ALONE)]))
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
            expected, found = (
                percentiles([request.seconds for request in done]),
                percentiles(_measured(cluster, requests)),
            )
            for name, a, b in zip(("reply 50 %", "reply 99 %"), expected, found, strict=True):
                print(f"{count:>8}  {name}  {a:>7.2f} s  {b:>6.2f} s  {a / b - 1:>+6.0%}   target {_TARGET:.0%}")


def _measured(cluster: RayCluster, requests: Sequence[Request]) -> list[float]:
    """Seconds that each request took, each sent by a client of its own at its time."""
    found: list[float] = []
    start = time.monotonic() + 1

    def ask(request: Request) -> None:
        time.sleep(max(0.0, start + request.at - time.monotonic()))
        began = time.monotonic()
        reply = httpx.post(f"{cluster.url}/predictions", json={"input": {"prompt": "slow"}}, timeout=600)
        assert reply.json()["status"] == "succeeded", reply.text
        found.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=[request]) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(requests), "a request failed"
    return found
