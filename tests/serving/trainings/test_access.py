"""Who may train, and see what: with a key, without the extra, where trainings are turned off; whose a name is."""

from pathlib import Path

import httpx
import pytest

from musicgen_service.serving import api_keys, training_routes
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.training_gateway import SONGS, ended, train, training_gateway
from tests.support.fake_cog import fake_cog
from tests.support.harness import wait_until


def test_a_name_is_trained_once(client: httpx.Client, stranger: httpx.Client, weights_folder: Path) -> None:
    training = train(client, trigger="endless")
    body = {"destination": "you/mine", "input": {"dataset_path": SONGS, "model_version": "demo"}}
    wait_until(lambda: (weights_folder / "training" / "mine").exists())
    assert client.post("/v1/trainings", json=body).json()["detail"].startswith("'mine' is being trained already")
    client.post(f"/v1/trainings/{training['id']}/cancel")
    reply = stranger.post("/v1/trainings", json=body)
    assert reply.status_code == 409 and reply.json()["detail"].startswith("Another client has begun to train 'mine'")
    assert ended(client, train(client))["status"] == "succeeded"
    reply = client.post("/v1/trainings", json=body)
    assert reply.status_code == 409 and reply.json()["detail"].startswith("There is an adapter 'mine' already")


def test_files_are_of_the_client_that_has_trained_a_name_last(client: httpx.Client, stranger: httpx.Client) -> None:
    first = train(client, "first", trigger="endless")
    waiting = train(client, "mine")
    client.post(f"/v1/trainings/{waiting['id']}/cancel")
    theirs = train(stranger, "mine", trigger="endless")
    client.post(f"/v1/trainings/{first['id']}/cancel")
    wait_until(lambda: bool(stranger.get(f"/v1/trainings/{theirs['id']}").json()["samples"]))
    [sample] = stranger.get(f"/v1/trainings/{theirs['id']}").json()["samples"]
    assert client.get(f"/v1/trainings/{waiting['id']}").json()["samples"] == []
    assert client.get(sample.replace(theirs["id"], waiting["id"])).status_code == 404
    stranger.post(f"/v1/trainings/{theirs['id']}/cancel")


def test_without_the_extra_there_are_none(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_routes, "find_spec", lambda _: None)
    body = {"destination": "mine", "input": {"dataset_path": SONGS, "model_version": "demo"}}
    reply = client.post("/v1/trainings", json=body)
    assert reply.status_code == 501 and "need the extra 'train'" in reply.json()["detail"]


def test_they_are_of_those_who_have_a_key(tmp_path: Path) -> None:
    keys = {name: api_keys.add(tmp_path / "keys", name) for name in ("ada", "ben")}
    with training_gateway(tmp_path / "results", keys=api_keys.ApiKeys(tmp_path / "keys")) as gateway:
        with client_of(gateway) as nobody:
            assert nobody.get("/v1/trainings").status_code == nobody.post("/v1/trainings", json={}).status_code == 401
        with client_of(gateway) as ada, client_of(gateway) as ben:
            for name, client in (("ada", ada), ("ben", ben)):
                client.headers["Authorization"] = f"Bearer {keys[name]}"
            training = ended(ada, train(ada))
            assert training["status"] == "succeeded" and ada.get(training["samples"][0]).content == b"RIFF"
            assert ben.get(f"/v1/trainings/{training['id']}").status_code == 404
            assert ben.get(training["samples"][0]).status_code == 404
            assert ben.get("/v1/trainings").json()["results"] == []


def test_they_can_be_turned_off() -> None:
    with fake_cog() as cog, running(gateway_of(lambda: cog.server_port)) as gateway, client_of(gateway) as client:
        for reply in (client.post("/v1/trainings", json={}), client.get("/v1/trainings")):
            assert (reply.status_code, reply.json()["detail"]) == (404, "Trainings are turned off here.")
