"""A temporary folder that is gone or full: the supervisor with a fake Cog server."""

import shutil
from pathlib import Path

import pytest

from musicgen_service.serving import cog_process
from tests.serving.supervised import SCRIPT, family, is_served, pid, say
from tests.support.harness import PROJECT, Server, serving, wait_until
from tests.test_folders import disk, fill


def test_restored_temporary_folder_is_used_again(server: Server, tmp_path: Path) -> None:
    shutil.rmtree(server.temp)
    sentence = "The service's temporary folder is gone: try again when it is back."
    reply = say(server, "hello")
    assert (reply.status_code, reply.json()["error"]) == (503, sentence)
    server_process = family(server)[-1]
    server_process.kill()
    wait_until(lambda: server.client.get("/health-check").json() == {"status": "STARTING", "reason": sentence})
    assert sentence in say(server, "hello").json()["error"]
    server.temp.mkdir()
    wait_until(lambda: server.status() == "READY")
    assert is_served(server)


def test_full_disk_is_reported_until_there_is_space(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m") as temp, serving(["-c", SCRIPT, "--port"], PROJECT, temp) as server:
        large = fill(temp)
        reply = say(server, "hello")
        sentence = "The service has no room left to write files: try again later."
        assert (reply.status_code, reply.json()["error"]) == (503, sentence)
        before = pid(server)
        family(server)[-1].kill()
        wait_until(lambda: server.status() == "READY" and pid(server) != before)
        assert say(server, "hello").json()["error"] == sentence
        large.unlink()
        assert is_served(server)


def test_full_disk_under_cogs_folder_is_reported_in_advance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(tmp_path / "disk", "size=1m") as full:
        for folder in (full, full / "coglet" / "predictions"):
            monkeypatch.setattr(cog_process, "COG_FOLDER", folder)
            assert cog_process.folder_problem() is None
        fill(full)
        assert cog_process.folder_problem() == "The service has no room left to write files: try again later."
    (tmp_path / "file").touch()
    monkeypatch.setattr(cog_process, "COG_FOLDER", tmp_path / "file" / "predictions")
    assert cog_process.folder_problem() == "The service may not write to its temporary folder."
