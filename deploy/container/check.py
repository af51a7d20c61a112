"""Runs the built image as a container runtime would and tests it: `python -m deploy.container.check ROOT CONFIG NOTE`.

ROOT is the image's file system, CONFIG the output of `buildah inspect`, NOTE a remark on how it was built.
The image runs once with its own configuration, as root, and once as in deploy/kubernetes.yaml: as an ordinary user
without capabilities, with a read-only root and /tmp in memory. Neither run has a network.
"""

import base64
import contextlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from musicgen_service.serving import api_keys

_ENTER = Path(__file__).with_name("enter.sh")
_ADDRESS = "http://127.0.0.1:5000"
_headers = {"Content-Type": "application/json"}
_TIMEOUT = 600
"""Maximum seconds for a server to become ready, and for a prediction."""
_DRAIN_SECONDS = 40
"""Seconds of audio in the prediction that SIGTERM interrupts."""


@dataclass(frozen=True)
class Image:
    """A built image and its run configuration.

    Attributes
    ----------
    root : folder with its file system
    environment : entries `NAME=VALUE`
    entrypoint, command : the process to run
    """

    root: Path
    environment: list[str]
    entrypoint: list[str]
    command: list[str]

    @contextlib.contextmanager
    def running(self, user: str, command: list[str], environment: list[str]) -> "Iterator[Container]":
        """Run `command` in the image for the duration of the block, then kill it.

        Parameters
        ----------
        user : `root` or `ordinary`; see enter.sh
        """
        apart = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        inside = [str(self.root), str(Path("weights").resolve()), user, *self.environment, *environment]
        process = subprocess.Popen(
            [*apart, "sh", str(_ENTER), *inside, *self.entrypoint, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        container = Container(process)
        try:
            yield container
        finally:
            process.kill()
            process.wait()


class Container:
    """A running image."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines += self.process.stdout

    def terminate(self) -> None:
        """Send SIGTERM to its first process, as `docker stop` does."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait for it to end; returns its exit status."""
        status = self.process.wait(seconds)
        self._reader.join(5)
        return status

    def wait_until_ready(self) -> float:
        """Wait until it answers READY; returns how many seconds that took."""
        started = time.monotonic()
        while time.monotonic() < started + _TIMEOUT:
            if health() == "READY":
                return time.monotonic() - started
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise Failed("not ready: " + "".join(self.lines[-20:]))


class Failed(Exception):
    """A check of the image failed."""


def expect(holds: bool, what: str) -> None:
    """Raise `Failed` unless a condition holds."""
    if not holds:
        raise Failed(what)


def health() -> str:
    """The status that the server reports; empty when it does not answer."""
    try:
        with urllib.request.urlopen(f"{_ADDRESS}/health-check", timeout=10) as reply:
            return str(json.load(reply)["status"])
    except OSError:
        return ""


def predict(**inputs: Any) -> tuple[int, dict[str, Any]]:
    """Request a prediction; returns status and body."""
    body = json.dumps({"input": inputs}).encode()
    request = urllib.request.Request(f"{_ADDRESS}/predictions", body, _headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def clip(kind: str, **inputs: Any) -> str:
    """Request a prediction that must succeed with one file of a media type; returns its data URI."""
    status, reply = predict(model_version="demo", seed=7, **inputs)
    expect(status == 200 and reply["status"] == "succeeded", f"{inputs}: {status} {str(reply)[:300]}")
    [output] = reply["output"]
    expect(output.startswith(f"data:{kind};base64,"), f"{output[:40]} is no {kind}")
    return str(output)


def content(uri: str) -> bytes:
    """The data in a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def length(wav: bytes) -> float:
    """Seconds of audio in a wav file."""
    with wave.open(io.BytesIO(wav)) as sound:
        return sound.getnframes() / sound.getframerate()


def check_predictions() -> None:
    """Check a clip, mp3 output and input, and an invalid input."""
    expect(length(content(clip("audio/wav", prompt="rock, 120 bpm", duration=3))) == 3, "3 s of wav")
    mp3 = clip("audio/mpeg", prompt="rock, 120 bpm", duration=3, output_format="mp3")
    expect(content(mp3)[:3] == b"ID3", "an mp3 with tags")
    longer = clip("audio/wav", prompt="rock", input_audio=mp3, continuation=True, duration=5)
    expect(length(content(longer)) == 5, "an mp3 continued to 5 s")
    status, reply = predict(prompt="rock", duration="long")
    expect(status == 422 and "duration" in str(reply), f"422 that names duration: {status} {reply}")


def drain(container: Container) -> float:
    """Send SIGTERM during a prediction; returns the seconds until the container has ended."""
    replies: list[bytes] = []
    asking = threading.Thread(
        target=lambda: replies.append(content(clip("audio/wav", prompt="rock, 120 bpm", duration=_DRAIN_SECONDS)))
    )
    started = len(container.lines)
    asking.start()
    began = time.monotonic()
    while not any("task text" in line for line in container.lines[started:]):
        expect(time.monotonic() < began + 30, "a prediction that starts")
        time.sleep(0.1)
    time.sleep(1)
    expect(not replies, "still at work when SIGTERM comes")
    signalled = time.monotonic()
    container.terminate()
    asking.join(_TIMEOUT)
    expect(len(replies) == 1 and length(replies[0]) == _DRAIN_SECONDS, "the whole reply after SIGTERM")
    status = container.wait(60)
    expect(status == 0, f"exit status 0 after SIGTERM, not {status}: {''.join(container.lines[-20:])}")
    return time.monotonic() - signalled


def check_fetch_error(image: Image, user: str, environment: list[str]) -> None:
    """Check that `weights fetch` without write permission or network ends with one sentence."""
    command = ["python", "-m", "musicgen_service", "weights", "fetch", "small"]
    with image.running(user, command, environment) as container:
        status = container.wait(60)
        output = "".join(container.lines)
    reason = "cannot be written" if user == "ordinary" else "could not be fetched"
    one_sentence = len(container.lines) == 1 and reason in output and "offline mode" not in output
    expect(status == 1 and one_sentence, f"one sentence of `weights fetch`: {output}")


def check_contents(root: Path) -> str:
    """Check that the image contains no unwanted files; returns its size."""
    source = root / "src"
    unwanted = [path for name in (".env", "*.key", "venv", ".git") for path in source.rglob(name)]
    unwanted += [source / name for name in ("demo", "docs", "tests", "bench", "deploy") if (source / name).exists()]
    expect(not unwanted, f"unwanted in the image: {unwanted}")
    used = subprocess.run(["du", "-s", "-B", "1000000", str(root)], capture_output=True, text=True, check=True)
    return f"{int(used.stdout.split()[0]) / 1000:.2f} GB"


def _make_key(root: Path) -> str:
    """Write a file of API keys to where the manifest has it, for any user to read; returns its key."""
    file = root / "keys" / "api-keys"
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    key = api_keys.add(file, "check")
    file.chmod(0o444)
    return key


def main() -> None:
    """Run all checks; prints a line of figures, or exits with status 1 and the failure."""
    root, config = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())["OCIv1"]["config"]
    image = Image(root, config["Env"], config["Entrypoint"], config["Cmd"])
    deployment, *_ = yaml.safe_load_all(Path("deploy/kubernetes.yaml").read_text())
    [pod] = deployment["spec"]["template"]["spec"]["containers"]
    as_manifest = [f"{entry['name']}={entry['value']}" for entry in pod["env"]]
    _headers["Authorization"] = f"Bearer {_make_key(root)}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    figures = [f"image {check_contents(root)} with torch for CPUs, {sys.argv[3]}"]
    runs: list[tuple[str, list[str], list[str]]]
    runs = [("root", image.command, []), ("ordinary", pod["args"], as_manifest)]
    try:
        for user, command, environment in runs:
            with image.running(user, command, environment) as container:
                ready = container.wait_until_ready()
                check_predictions()
                figures.append(f"{user} user: ready {ready:.1f} s, drained {drain(container):.1f} s after SIGTERM")
            check_fetch_error(image, user, environment)
    except Failed as failure:
        sys.exit(f"error: {failure}")
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}: " + "; ".join(figures))


if __name__ == "__main__":
    main()
