"""The command `serve`: arguments for the supervisor, listening address, and errors."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from musicgen_service import cli
from musicgen_service.serving import api_keys, cog_server, supervisor
from tests.support.harness import PROJECT, free_port, serving

SERVE = [sys.executable, "-m", "musicgen_service", "serve"]


@pytest.fixture
def constructor_arguments(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The constructor arguments of the supervisor, which is replaced."""
    found: list[Any] = []

    class Recorder:
        proxy = SimpleNamespace()

        def __init__(self, *arguments: Any) -> None:
            found.extend(arguments)

        def run(self) -> None:
            pass

    monkeypatch.setattr(supervisor, "Supervisor", Recorder)
    return found


def test_kubernetes_variable_is_removed(constructor_arguments: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable Cog would write at every health check, and warn when it cannot."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("MUSICGEN_MODELS", "demo")
    cog_server.serve("127.0.0.1", 0)
    environment: Mapping[str, str] = constructor_arguments[1]._environment
    assert "KUBERNETES_SERVICE_HOST" not in environment and environment["MUSICGEN_MODELS"] == "demo"


def test_cog_finds_the_schema_in_its_working_folder(constructor_arguments: list[Any], tmp_path: Path) -> None:
    cog_server.serve("127.0.0.1", 0, "m3maker")
    prepare_folder: Callable[[Path], object] = constructor_arguments[1]._prepare_folder
    prepare_folder(tmp_path)
    assert "m3maker" in constructor_arguments[1]._environment["COG_PREDICT_TYPE_STUB"]
    assert "/predictions" in (tmp_path / ".cog" / "openapi_schema.json").read_text()


def test_drain_seconds_come_from_the_settings(
    constructor_arguments: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_DRAIN_SECONDS", "7.5")
    cog_server.serve("127.0.0.1", 0)
    assert constructor_arguments[2] == 7.5


@pytest.mark.parametrize(
    ("arguments", "port"), [([], 5000), (["PORT=5702"], 5702), (["PORT=5702", "--port", "5703"], 5703)]
)
def test_port_comes_from_the_option_or_the_environment(
    arguments: list[str], port: int, constructor_arguments: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    if arguments:
        monkeypatch.setenv(*arguments[0].split("="))
    cli.main(["serve", *arguments[1:]])
    assert constructor_arguments[0] == ("127.0.0.1", port)


def test_address_is_logged_once_listening(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"PORT": str(port), "TMPDIR": str(tmp_path), "MUSICGEN_MODELS": "demo"}
    with subprocess.Popen(SERVE, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stderr.readline() == f"listening on http://127.0.0.1:{port}\n"
        socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not list(tmp_path.glob("musicgen-*"))


def refusal(temp: Path, *arguments: str) -> str:
    environment = os.environ | {"TMPDIR": str(temp), "MUSICGEN_MODELS": "demo"}
    done = subprocess.run([*SERVE, *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and not list(temp.glob("musicgen-*"))
    return done.stderr


def test_port_in_use_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"error: It is not possible to listen on 127.0.0.1:{port}: Address already in use.\n"
        assert refusal(tmp_path, "--port", str(port)) == sentence


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "192.0.2.1", "--insecure"], "192.0.2.1:5000: Cannot assign requested address."),
        (["--host", "nowhere.invalid"], "nowhere.invalid:5000: "),
    ],
)
def test_unavailable_address_is_reported_in_one_sentence(tmp_path: Path, arguments: list[str], reason: str) -> None:
    message = refusal(tmp_path, *arguments)
    assert message.startswith(f"error: It is not possible to listen on {reason}") and message.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_listens_beyond_this_machine_with_keys_or_when_told(
    host: str, constructor_arguments: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["serve", "--host", host])
    assert str(refused.value.code).startswith(f"error: To listen on {host}, which others than this machine may reach,")
    assert constructor_arguments == []
    cli.main(["serve", "--host", host, "--insecure"])
    assert constructor_arguments[0][0] == host and constructor_arguments[3].keys is None
    constructor_arguments.clear()
    api_keys.add(tmp_path / "keys", "ann")
    monkeypatch.setenv("MUSICGEN_API_KEYS_FILE", str(tmp_path / "keys"))
    cli.main(["serve", "--host", host])
    assert constructor_arguments[0][0] == host and constructor_arguments[3].keys is not None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "::1"])
def test_on_this_machine_it_needs_no_keys(host: str, constructor_arguments: list[Any]) -> None:
    cli.main(["serve", "--host", host])
    assert constructor_arguments[0][0] == host


CLONE_COMMANDS = (
    ["recipe", "clip.wav"],
    ["analyse", "clip.wav"],
    ["weights", "list"],
    ["weights", "path"],
    ["predict", "-i", "prompt=rock", "-i", "duration=1", "-i", "model_version=demo", "-o", "clip.wav"],
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_clone_in_the_temporary_folder_survives_every_command(tmp_path: Path) -> None:
    """The clone has the project's name, a prefix of folders that the service once removed at its start."""
    clone, work = tmp_path / "musicgen-service", tmp_path / "work"
    work.mkdir()
    subprocess.run(["git", "init", "-q", clone], check=True)
    for name in ("12", "weights", "tests", "musicgen-outputs-mine"):
        (clone / name).mkdir()
        (clone / name / "file").touch()
    subprocess.run(["git", "-C", clone, "add", "-A"], check=True)
    before = sorted(clone.rglob("*"))
    environment = {"PYTHONPATH": str(PROJECT), "MUSICGEN_MODELS": "demo"}
    for command in reversed(CLONE_COMMANDS):
        settings = os.environ | environment | {"TMPDIR": str(tmp_path)}
        subprocess.run([*SERVE[:3], *command], cwd=work, env=settings, capture_output=True, check=True)
    with serving(["-m", "musicgen_service", "serve", "--port"], work, tmp_path, **environment) as running:
        assert running.predict(prompt="rock", duration=1)["status"] == "succeeded"
        assert running.stop() == 0
    assert sorted(clone.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.glob("musicgen-*")) == ["musicgen-service"]


def test_cogs_server_trusts_a_single_authority(constructor_arguments: list[Any]) -> None:
    cog_server.serve("127.0.0.1", 0)
    environment = constructor_arguments[1]._environment
    authorities = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"]).get_ca_certs()
    assert [found["subject"] for found in authorities] == [((("commonName", "no authority"),),)]
    assert environment["SSL_CERT_DIR"] == os.devnull
