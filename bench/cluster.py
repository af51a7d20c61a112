"""The service on a Ray cluster on this machine: what it adds to a request, and what it costs to kill replicas.

    python -m bench.cluster
    python -m bench.cluster --demo --requests 100

The Cog servers are fakes. First, a request to one plain service and to the cluster, in turns: each figure is the time
within which the fastest tenth was answered, which other work on the machine disturbs least. Then a replica is killed
every twenty seconds, while clients send requests that take a second each.

With `--demo` the replicas are real ones with the shipped checkpoint, which all make the same clip of two seconds. A
replica is killed every forty seconds; what a request costs is not measured.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import machine
from musicgen_service.serving import cog_server
from tests.support import ray_cluster
from tests.support.harness import PROJECT, serving
from tests.support.ray_cluster import SLOTS, RayCluster

import httpx
import torch

PLAIN = """
import os, sys
from musicgen_service import settings
from musicgen_service.serving import cog_server, supervisor
from tests.support import ray_cluster
given = settings.load()
options = cog_server.gateway_options(given)
supervisor.Supervisor(("127.0.0.1", int(sys.argv[2])), ray_cluster.process(given), 3.0, options).run()
"""
REPLICAS = 2
KILL_EVERY, KILL_REAL_EVERY = 20.0, 40.0
SLOW = {"prompt": "slow"}
CLIP = {"prompt": "lofi piano, 90 bpm", "duration": 2, "seed": 1, "model_version": "demo"}
TARGET_MS, TARGET_RECOVERY = 15.0, 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200, help="requests of each kind (default %(default)s)")
    parser.add_argument("--requests", type=int, default=300, help="while replicas are killed (default %(default)s)")
    parser.add_argument("--demo", action="store_true", help="with real replicas and the shipped checkpoint")
    options = parser.parse_args()
    print(f"{machine.describe(torch.device('cpu'))}\n")
    if options.demo:
        own = {"MUSICGEN_WEIGHTS": str(PROJECT / "weights"), "MUSICGEN_MODELS": "demo"}
        with tempfile.TemporaryDirectory() as folder, ray_cluster.running(Path(folder), **own) as cluster:
            cluster.deploy(REPLICAS, cog=cog_server.process)
            _deaths(options.requests, cluster, CLIP, KILL_REAL_EVERY)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_cluster.running(Path(folder), MUSICGEN_QUEUE="1000") as cluster,
        serving(["-c", PLAIN, "--port"], PROJECT, Path(folder) / "plain", MUSICGEN_SLOTS=str(SLOTS)) as plain,
    ):
        cluster.deploy(REPLICAS)
        with cluster.client(keep_alive=True) as client:
            _overhead(options.turns, plain.client, client)
        _deaths(options.requests, cluster, SLOW, KILL_EVERY)


def _overhead(turns: int, plain: httpx.Client, cluster: httpx.Client) -> None:
    kinds = {"one plain service": plain, "cluster": cluster}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(turns + 5):
        for name, client in kinds.items():
            started = time.perf_counter()
            reply = client.post("/predictions", json={"input": {"prompt": "x"}})
            took = 1000 * (time.perf_counter() - started)
            assert reply.json()["status"] == "succeeded", reply.text
            if turn >= 5:  # the first ones open connections
                times[name].append(took)
    fast = {name: statistics.quantiles(found, n=10)[0] for name, found in times.items()}
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(f"{turns} requests of each kind, in turns       fastest tenth    median")
    for name in kinds:
        print(f"{name:40}{fast[name]:10.1f} ms{middle[name]:7.1f} ms")
    more = [found["cluster"] - found["one plain service"] for found in (fast, middle)]
    print(f"{'the cluster adds':40}{more[0]:10.1f} ms{more[1]:7.1f} ms   target <= {TARGET_MS:g} ms\n")


def _deaths(count: int, cluster: RayCluster, inputs: dict[str, Any], interval: float) -> None:
    """Kill a replica at a time while requests come; prints what became of them, and how soon it was replaced."""
    recoveries: list[float] = []
    outputs: set[str] = set()
    enough = threading.Event()

    def kill() -> None:
        while not enough.wait(interval):
            victim = cluster.processes("Replica")[0]
            victim.kill()
            started = time.monotonic()
            _until(lambda: cluster.replicas() < REPLICAS)
            _until(lambda: cluster.replicas() == REPLICAS)
            recoveries.append(time.monotonic() - started)

    def ask(_: int) -> str:
        with cluster.client() as client:
            reply = client.post("/predictions", json={"input": inputs}, timeout=600).json()
        outputs.update(reply.get("output") or ())
        return str(reply.get("status"))

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(2 * REPLICAS * SLOTS) as pool:
        outcomes = Counter(pool.map(ask, range(count)))
    enough.set()
    killer.join()
    print(f"{count} requests, {len(recoveries)} replicas killed: {dict(outcomes)}; target: none lost")
    print(f"different results of the same request: {len(outputs)}; target: 1")
    print(f"a killed replica was replaced after {', '.join(f'{seconds:.1f}' for seconds in recoveries)} s", end="")
    print(f"   target <= {TARGET_RECOVERY:g} s")


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
