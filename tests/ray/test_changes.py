"""A cluster that changes under load: replicas die, are replaced, come and go; the gateway starts again."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from musicgen_service.serving.refusals import LOST
from tests.ray.test_requests import begin, runs
from tests.support.harness import wait_until
from tests.support.ray_cluster import SLOTS, RayCluster, until_ended

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@contextmanager
def load(cluster: RayCluster, clients: int) -> Iterator[list[httpx.Response]]:
    """Clients that ask for one prediction after the other for the length of the block; their replies in the end."""
    replies: list[httpx.Response] = []
    enough = threading.Event()

    def ask() -> None:
        with cluster.client() as client:
            while not enough.is_set():
                replies.append(client.post("/predictions", json={"input": {"prompt": "slow"}}))

    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(ask) for _ in range(clients)]
        try:
            yield replies
        finally:
            enough.set()
    for client in asking:
        client.result()


def succeeded(replies: list[httpx.Response]) -> bool:
    return bool(replies) and all(reply.json().get("status") == "succeeded" for reply in replies)


def test_what_a_killed_replica_ran_is_carried_out_by_another(cluster: RayCluster, client: httpx.Client) -> None:
    for number in range(2 * SLOTS):
        begin(client, "wait", f"again-{number}")
    wait_until(lambda: all(runs(client, f"again-{number}") for number in range(2 * SLOTS)))
    victim, _ = cluster.processes("Replica")
    children = victim.children(recursive=True)
    victim.kill()
    cluster.resume.touch()
    jobs = [until_ended(client, f"again-{number}") for number in range(2 * SLOTS)]
    assert [job["status"] for job in jobs] == ["succeeded"] * 2 * SLOTS, jobs
    wait_until(lambda: len(cluster.processes("Replica")) == 2 and cluster.replicas() == 2)
    wait_until(lambda: not any(child.is_running() for child in children))  # no Cog server is left behind


def test_who_has_heard_the_beginning_is_told_that_it_broke_off(cluster: RayCluster, client: httpx.Client) -> None:
    body = {"id": "broken", "input": {"prompt": "music"}}
    with client.stream("POST", "/predictions/stream", json=body) as reply:
        pieces = reply.iter_bytes()
        assert next(pieces)[:4] == b"RIFF"
        for replica in cluster.processes("Replica"):
            replica.kill()
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    job = until_ended(client, "broken")
    assert (job["status"], job["error"]) == ("failed", "The service broke down in this request: try again in a moment.")
    wait_until(lambda: cluster.replicas() == 2)


def test_a_rolling_update_fails_no_request(cluster: RayCluster) -> None:
    before = {process.pid for process in cluster.processes("Replica")}
    with load(cluster, 4) as replies:
        cluster.deploy(version="2")
        wait_until(lambda: not before & {process.pid for process in cluster.processes("Replica")})
    assert succeeded(replies)


def test_replicas_come_and_go_with_what_waits(cluster: RayCluster) -> None:
    scaling = {
        **{"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": SLOTS},
        **{"metrics_interval_s": 0.5, "look_back_period_s": 1, "upscale_delay_s": 0.5, "downscale_delay_s": 1},
    }
    cluster.deploy(replicas=None, version="2", autoscaling_config=scaling)
    wait_until(lambda: cluster.replicas() == 1)
    with load(cluster, 12) as replies:
        wait_until(lambda: cluster.replicas() == 3)
    wait_until(lambda: cluster.replicas() == 1)
    assert succeeded(replies)
    cluster.deploy(version="2")


def test_a_gateway_that_starts_again_knows_what_has_ended_and_carries_on(
    cluster: RayCluster, client: httpx.Client
) -> None:
    begin(client, "kept", "kept")
    job = until_ended(client, "kept")
    begin(client, "wait", "carried-on")
    attached = threading.Thread(target=_post_until_cut, args=[cluster, "attached"])
    attached.start()
    wait_until(lambda: _status(client, "attached") == _status(client, "carried-on") == "processing")
    [gateway] = cluster.processes("Gateway")
    gateway.kill()
    attached.join()
    wait_until(lambda: (reply := _get(client, "/predictions/kept")) is not None and reply.status_code == 200)
    assert client.get("/predictions/kept").json() == job
    assert client.get(job["output"][0]).text == "kept"
    lost = until_ended(client, "attached")
    assert (lost["status"], lost["error"]) == ("failed", LOST)
    wait_until(lambda: _status(client, "carried-on") == "processing")
    # Replicas have ended what they did for the one that was killed.
    for number in range(2 * SLOTS - 1):
        begin(client, "wait", f"more-{number}")
        wait_until(lambda number=number: runs(client, f"more-{number}"))  # type: ignore[misc]
    cluster.resume.touch()
    assert until_ended(client, "carried-on")["status"] == "succeeded"


def test_an_update_of_the_gateway_carries_on_with_what_nobody_waits_for(
    cluster: RayCluster, client: httpx.Client
) -> None:
    names = [f"updated-{number}" for number in range(4 * SLOTS)]  # half of which wait for their turn
    for name in names:
        begin(client, "wait", name)
    wait_until(lambda: sum(_status(client, name) == "processing" for name in names) == 2 * SLOTS)
    [before] = cluster.processes("Gateway")
    cluster.deploy()
    wait_until(lambda: not before.is_running())
    wait_until(lambda: sum(_status(client, name) == "processing" for name in names) == 2 * SLOTS)
    time.sleep(3)  # more than a replica's look at whether its gateway is there
    cluster.resume.touch()
    assert {until_ended(client, name)["status"] for name in names} == {"succeeded"}


def _post_until_cut(cluster: RayCluster, name: str) -> None:
    with cluster.client() as client, suppress(httpx.TransportError):
        client.post("/predictions", json={"id": name, "input": {"prompt": "wait"}})


def _status(client: httpx.Client, name: str) -> str:
    reply = _get(client, f"/predictions/{name}")
    return "" if reply is None else str(reply.json().get("status")) if reply.status_code == 200 else ""


def _get(client: httpx.Client, path: str) -> httpx.Response | None:
    try:
        return client.get(path)
    except httpx.TransportError:
        return None
