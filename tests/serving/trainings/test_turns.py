"""Trainings wait for one another, make progress, and end: well, with a failure, or with the service."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from musicgen_service.serving import training_process, training_records
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of
from tests.serving.test_webhooks import hook
from tests.serving.training_gateway import FINE_TUNER, SONGS, calls, ended, train, training_gateway
from tests.support import fake_train
from tests.support.harness import runs, wait_until


def test_progress_is_told_and_samples_are_heard(client: httpx.Client, stranger: httpx.Client) -> None:
    training = train(client, trigger="endless")

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/v1/trainings/{training['id']}").json()
        return found

    wait_until(lambda: (shown()["progress"] or {}).get("stage") == "training")
    found = shown()
    assert found["progress"]["done"] == 1 and found["progress"]["total"] == 3 and found["status"] == "processing"
    assert found["songs"]["songs"] == [fake_train.SONG] and found["songs"]["others"] == ["cover.jpg"]
    [sample] = found["samples"]
    assert client.get(sample).content == b"RIFF" and client.get(sample).headers["content-type"] == "audio/wav"
    assert stranger.get(sample).status_code == stranger.get(f"/v1/trainings/{training['id']}").status_code == 404
    assert client.get(f"/v1/trainings/{training['id']}/..%2fcalls").status_code == 404
    assert stranger.post(f"/v1/trainings/{training['id']}/cancel").status_code == 404
    cancelled = client.post(f"/v1/trainings/{training['id']}/cancel").json()
    assert cancelled["status"] == "canceled" and cancelled["completed_at"]
    assert client.get(sample).content == b"RIFF"


def test_one_trains_at_a_time_and_others_wait(client: httpx.Client, weights_folder: Path) -> None:
    first, second = train(client, "first", trigger="endless"), train(client, "second")
    third = train(client, "third")
    assert (second["status"], second["queue"], third["queue"]) == ("starting", {"position": 0}, {"position": 1})
    assert client.post(f"/v1/trainings/{second['id']}/cancel").json()["status"] == "canceled"
    # A preview does not wait for a training.
    preview = ended(client, train(client, preview=True))
    assert preview["status"] == "succeeded" and preview["songs"]["songs"] == [fake_train.SONG]
    assert preview["output"] == {"version": None, "weights": None, "adapter": None}
    wait_until(lambda: len(calls(weights_folder)) == 2)
    client.post(f"/v1/trainings/{first['id']}/cancel")
    assert ended(client, third)["status"] == "succeeded"
    assert sorted(call["options"]["name"] for call in calls(weights_folder)) == ["first", "mine", "third"]
    pids = [call["pid"] for call in calls(weights_folder)]
    wait_until(lambda: not any(map(runs, pids)))


def test_too_many_do_not_wait(replicate: Client) -> None:
    inputs = {"dataset_path": SONGS, "model_version": "demo", "trigger": "endless"}
    made = [replicate.trainings.create(FINE_TUNER, inputs, f"me/number{number}") for number in range(11)]
    with pytest.raises(ReplicateError, match="Too many trainings are waiting"):
        replicate.trainings.create(FINE_TUNER, inputs, "me/last")
    for training in reversed(made):
        training.cancel()
        assert training.status == "canceled"


@pytest.mark.parametrize(
    ("trigger", "error"),
    [
        ("refused", "An unfinished training has other songs: give the same, or begin anew with restart."),
        (
            "large",
            "There was not enough memory: ask for checkpointing, a smaller crop or a smaller model_version.",
        ),
        ("broken", training_process.BROKE_DOWN),
        ("killed", training_process.OUT_OF_MEMORY),
    ],
)
def test_a_failure_is_told_in_a_sentence(client: httpx.Client, trigger: str, error: str) -> None:
    training = ended(client, train(client, trigger=trigger))
    assert (training["status"], training["error"], training["output"]) == ("failed", error, None)
    assert "secret" not in json.dumps(training)


def test_webhooks_are_told(
    gateway: Gateway, replicate: Client, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with hook() as (address, received):
        training = replicate.trainings.create(
            version=FINE_TUNER,
            input={"dataset_path": SONGS, "model_version": "demo"},
            destination="me/mine",
            webhook=f"{address}/hook",
        )
        wait_until(lambda: not gateway.unfinished and len(received.reports) > 1)
    statuses = [report["status"] for report in received.reports]
    assert statuses[0] == "processing" and statuses[-1] == "succeeded" and statuses.count("succeeded") == 1
    assert received.reports[-1]["id"] == training.id and received.reports[-1]["output"]["adapter"]["name"] == "mine"
    assert all("webhook-signature" in headers for _, headers in received.heads)


def test_a_service_that_ends_tells_its_trainings(tmp_path: Path, weights_folder: Path) -> None:
    with training_gateway(tmp_path / "results") as gateway, client_of(gateway) as client:
        port = gateway.address[1]
        training, waiting = train(client, trigger="endless"), train(client, "other")
        wait_until(lambda: bool(calls(weights_folder)))
    wait_until(lambda: not runs(calls(weights_folder)[0]["pid"]))
    with training_gateway(tmp_path / "results", port=port) as gateway, client_of(gateway) as client:
        for known in (training, waiting):
            found = ended(client, known)
            assert (found["status"], found["error"]) == ("failed", training_records.INTERRUPTED)
        assert ended(client, train(client))["status"] == "succeeded"
