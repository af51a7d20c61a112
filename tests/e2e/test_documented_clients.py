"""The clients in docs/http.md, run as they stand there against the real server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.support.harness import PROJECT, Server, wait_until
from tests.support.sounds import tone

pytestmark = pytest.mark.slow

PAGE = (PROJECT / "docs/http.md").read_text()
SERVER = "http://localhost:5000"


def example(language: str, server: Server, heading: str) -> str:
    """The example in a language below a heading of the page, for a server of the tests."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    [code] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert SERVER in code
    return str(code).replace(SERVER, str(server.client.base_url).rstrip("/"))


def seconds(path: Path) -> float:
    """Length of a sound file."""
    return float(soundfile.info(path).duration)


def test_the_client_in_python(server: Server, tmp_path: Path) -> None:
    wait_until(lambda: server.status() == "READY")
    done = subprocess.run(
        [sys.executable, "-c", example("python", server, "With Python")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    clips = list(tmp_path.glob("clip-*.mp3"))
    assert [seconds(clip) for clip in clips] == [pytest.approx(5, abs=0.1)] * 2


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_client_in_javascript(server: Server, tmp_path: Path) -> None:
    wait_until(lambda: server.status() == "READY")
    soundfile.write(tmp_path / "riff.wav", tone(1.0)[0], 32_000)
    (tmp_path / "client.mjs").write_text(example("javascript", server, "With JavaScript"))
    done = subprocess.run(["node", "client.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert seconds(tmp_path / "quartet.mp3") == pytest.approx(8, abs=0.1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_requests_that_do_not_wait(server: Server) -> None:
    commands = PAGE.split("## Without waiting\n```\n")[1].split("```")[0]
    address = str(server.client.base_url).rstrip("/").removeprefix("http://")
    done = subprocess.run(commands.replace("localhost:5000", address), shell=True, capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith(b'{"id":"my-clip","status":"starting"}{"id":"my-clip",')
    wait_until(lambda: server.client.get("/predictions/my-clip").json()["status"] == "succeeded")
    [address] = server.client.get("/predictions/my-clip").json()["output"]
    assert re.search(r"_s\d+\.mp3$", address) and server.client.get(address).content


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_request_with_curl(server: Server) -> None:
    wait_until(lambda: server.status() == "READY")
    command = PAGE.split("## With curl\n```\n")[1].split("```")[0]
    address = str(server.client.base_url).rstrip("/").removeprefix("http://")
    assert "localhost:5000" in command
    done = subprocess.run(command.replace("localhost:5000", address), shell=True, capture_output=True, check=False)
    assert done.returncode == 0 and b'"status":"succeeded"' in done.stdout and b"data:audio/mpeg;base64," in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_audio_with_curl(server: Server, tmp_path: Path) -> None:
    command = PAGE.split("## While it is made\n")[1].split("```\n")[1].split("```")[0]
    address = str(server.client.base_url).rstrip("/").removeprefix("http://")
    assert "localhost:5000" in command
    subprocess.run(command.replace("localhost:5000", address), shell=True, check=True, cwd=tmp_path)
    assert seconds(tmp_path / "piano.mp3") == pytest.approx(10, abs=0.2)


def test_the_audio_in_python(server: Server, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", example("python", server, "While it is made")], check=True, cwd=tmp_path)
    assert seconds(tmp_path / "piano.wav") == 10


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_events_in_javascript(server: Server, tmp_path: Path) -> None:
    (tmp_path / "client.mjs").write_text(example("javascript", server, "While it is made"))
    done = subprocess.run(["node", "client.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    *progress, address = done.stdout.splitlines()
    assert progress[-1] == "1" and address.endswith(".mp3")
    assert seconds(tmp_path / "piano.mp3") == pytest.approx(10, abs=0.2)
