"""The simulation of `bench.fleet` beside a cluster on this machine, to which the same requests are sent."""

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
_COUNT = 80
_LOAD = 0.85
"""What part of the slots is in use, in the mean."""
_SECONDS = 1.0
"""How long the fake takes for a request, whatever else it does."""
_TARGET = 0.25


def main() -> None:
    """Compare and print."""
    print(f"{'replicas':>8}  {'':10}  {'simulated':>9}  {'measured':>8}  {'apart':>6}")
    with tempfile.TemporaryDirectory() as folder, ray_cluster.running(Path(folder), MUSICGEN_QUEUE="1000") as cluster:
        for count in _REPLICAS:
            cluster.deploy(count)
            fleet = Fleet(count, count, SLOTS, alone=1.0, together=float(SLOTS))
            requests = [
                replace(request, audio=_SECONDS)
                for request in arrivals("random", 60 * _LOAD * count * SLOTS, _COUNT, _SECONDS, seed=count)
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
