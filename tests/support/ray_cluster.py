"""A Ray cluster of two nodes on this machine, which serves the service with fake Cog servers."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import ray
from ray import cloudpickle, serve
from ray.cluster_utils import Cluster

from deploy import ray_serve
from musicgen_service.serving.cog_process import CogProcess
from musicgen_service.settings import Settings
from tests.support.harness import PROJECT, free_port, wait_until

NAME = "musicgen"
SLOTS, PLACES = 2, 8


def process(given: Settings) -> CogProcess:
    """A fake Cog server."""
    environment = os.environ | {"COG_MAX_CONCURRENCY": str(given.slots)}
    return CogProcess([sys.executable, "-P", str(PROJECT / "tests/support/fake_cog.py")], environment, lambda _: None)


# As a reference it would have replicas import the package of tests, and thereby torch.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class RayCluster:
    """A running cluster with the service on it.

    Attributes
    ----------
    url : of the service, at which the proxies of both nodes listen
    resume : a file; while there is none, what waits for it waits
    """

    def __init__(self, url: str, resume: Path) -> None:
        self.url = url
        self.resume = resume

    def deploy(
        self,
        replicas: int | None = 2,
        version: str = "1",
        cog: Callable[[Settings], CogProcess] = process,
        **options: Any,
    ) -> None:
        """Deploy the service with a number of replicas, or else to be scaled; another version replaces each of them."""
        if replicas:
            options |= {"num_replicas": replicas, "autoscaling_config": None}
        resources = {"num_cpus": 0.1, "runtime_env": {"env_vars": {"VERSION": version}}}
        application = ray_serve.build(cog, ray_actor_options=resources, **options)
        serve.run(application, name=NAME)
        if replicas:
            wait_until(lambda: self.replicas() == replicas)

    def client(self, *, keep_alive: bool = False) -> httpx.Client:
        """A client each of whose requests may come to the proxy of either node, unless it keeps its connection."""
        limits = httpx.Limits(max_keepalive_connections=int(keep_alive))
        return httpx.Client(base_url=self.url, timeout=60, limits=limits, trust_env=False)

    def replicas(self) -> int:
        """Number of replicas that the gateway knows."""
        try:
            with self.client() as client:
                return int(client.get("/health-check").json().get("replicas", 0))
        except (httpx.TransportError, ValueError):
            return 0

    def processes(self, deployment: str) -> list[psutil.Process]:
        """The processes of a deployment's replicas."""
        title = f"ray::ServeReplica:{NAME}:{deployment}"
        children = psutil.Process().children(recursive=True)
        return [child for child in children if _title(child).startswith(title)]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[RayCluster]:
    """A cluster that keeps its results in a folder, for the length of the block; nothing of it is left afterwards."""
    resume = folder / "resume"
    own = {
        "PYTHONPATH": str(PROJECT),
        "OMP_NUM_THREADS": "1",
        "RAY_enable_worker_prestart": "0",  # of processes that wait for work, and take their time to start
        "RAY_prestart_worker_first_driver": "0",
        "RESUME": str(resume),
        "MUSICGEN_RESULTS": str(folder / "results"),
        "MUSICGEN_SLOTS": str(SLOTS),
        "MUSICGEN_QUEUE": str(PLACES),
        "MUSICGEN_REQUESTS_PER_MINUTE": "1000000",
        "MUSICGEN_AUDIO_SECONDS_PER_MINUTE": "1000000",
    }
    before = dict(os.environ)
    os.environ.update(own | settings)
    port = free_port()
    node = {"num_cpus": 2, "object_store_memory": 80 * 2**20, "include_dashboard": False, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        serve.start(proxy_location="EveryNode", http_options={"host": "127.0.0.1", "port": port})
        yield RayCluster(f"http://127.0.0.1:{port}", resume)
    finally:
        children = psutil.Process().children(recursive=True)
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()
        _, left = psutil.wait_procs(children, timeout=10)
        for child in left:
            child.kill()
        os.environ.clear()
        os.environ.update(before)


def until_ended(client: httpx.Client, prediction_id: str) -> dict[str, Any]:
    """Poll a prediction until it has ended."""
    while True:
        job = client.get(f"/predictions/{prediction_id}").raise_for_status().json()
        if job["status"] not in ("starting", "processing"):
            return dict(job)
        time.sleep(0.05)
