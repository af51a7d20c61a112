"""What `/metrics` says, with a fake Cog server; the worker's part is in test_worker_metrics."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from musicgen_service.serving import worker_socket
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog
from tests.support.harness import wait_until

Sample = tuple[str, tuple[tuple[str, str], ...]]


def metrics(client: httpx.Client) -> dict[Sample, float]:
    """Every sample, by its name and labels."""
    reply = client.get("/metrics")
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(reply.text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(client: httpx.Client, name: str, **labels: str) -> float:
    """The value of a sample; 0 where there is none yet."""
    return metrics(client).get((name, tuple(sorted(labels.items()))), 0.0)


def test_predictions_are_counted_by_task_and_outcome(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    def counts() -> list[float]:
        wait_until(lambda: not gateway.unfinished)
        wanted = [("loop", "succeeded"), ("loop", "failed"), ("unknown", "canceled"), ("unknown", "succeeded")]
        return [value(client, "musicgen_predictions_total", task=task, outcome=outcome) for task, outcome in wanted]

    before = counts()
    for prompt in ("a", "fail"):
        client.post("/predictions", json={"input": {"prompt": prompt, "task": "loop", "bpm": 100}})
    client.post("/predictions", json={"input": {"prompt": "b", "task": "auto"}})
    wait_until(lambda: not gateway.unfinished)
    with posted(gateway, client, "endless", id="ended"):
        client.post("/predictions/ended/cancel")
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1, 1, 1, 1]


def test_requests_are_counted_with_bounded_labels(client: httpx.Client) -> None:
    def count(**labels: str) -> float:
        return value(client, "musicgen_http_requests_total", **labels)

    wanted = {"method": "GET", "path": "other", "status": "404"}, {"method": "other", "path": "/livez", "status": "405"}
    before = [count(**labels) for labels in wanted]
    for number in range(3):
        client.get(f"/{number}")
        client.request(f"BREW{number}", "/livez")
    assert [count(**labels) - was for labels, was in zip(wanted, before, strict=True)] == [3, 3]


def test_the_queue_is_measured(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    before = value(client, "musicgen_queue_wait_seconds_count")
    with posted(gateway, client, "wait", "b", "c"):
        assert value(client, "musicgen_queue_length") == 2
        assert value(client, "musicgen_predictions_running") == 1
        assert value(client, "musicgen_queue_places") == 5
        cog.resume.set()
    wait_until(lambda: not gateway.unfinished)
    assert value(client, "musicgen_queue_length") == value(client, "musicgen_predictions_running") == 0
    assert value(client, "musicgen_queue_wait_seconds_count") - before == 3
    assert value(client, "musicgen_queue_wait_seconds_sum") > 0


def test_the_time_to_first_audio_is_measured(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    before = value(client, "musicgen_first_audio_seconds_count")
    cog.resume.set()
    assert client.post("/predictions/stream", json={"input": {"prompt": "music"}}).content
    wait_until(lambda: not gateway.unfinished)
    assert value(client, "musicgen_first_audio_seconds_count") - before == 1
    assert 0 <= value(client, "musicgen_first_audio_seconds_sum") < 10


def test_the_version_and_the_process_are_told(client: httpx.Client) -> None:
    names = {name for name, _ in metrics(client)}
    assert {"musicgen_build_info", "process_resident_memory_bytes", "musicgen_worker_restarts_total"} <= names
    assert not any(name.endswith("_created") for name in names)


def test_the_workers_metrics_follow(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "worker.sock"  # longer than an address may be
    path.parent.mkdir()
    gateway = gateway_of(lambda: None, worker_socket=lambda: path)
    with running(gateway), client_of(gateway) as client:
        assert "thing" not in client.get("/metrics").text
        worker_socket.publish({"metrics": lambda: b"thing 5.0\n" + b"# " + b"x" * 200_000 + b"\n"}, path)
        assert value(client, "thing") == 5
        path.unlink()  # as the supervisor does when it stops the worker
        assert "thing" not in client.get("/metrics").text
        assert value(client, "musicgen_queue_length") == 0


def test_the_route_can_be_turned_off() -> None:
    gateway = gateway_of(lambda: None, metrics="off")
    with running(gateway), client_of(gateway) as client:
        reply = client.get("/metrics")
        assert (reply.status_code, reply.json()["error"]) == (404, "The metrics are turned off.")


def test_metrics_are_read_only(client: httpx.Client) -> None:
    assert client.post("/metrics").status_code == 405
