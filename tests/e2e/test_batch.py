"""Batches against the real server."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service import cli
from musicgen_service.batch import remote
from tests.support.batches import files, write_list
from tests.support.command import Capture
from tests.support.harness import Server, wait_until
from tests.support.shell import COMMAND, environment

LINES = (
    {"id": "text", "prompt": "rock", "duration": 1},
    {"id": "takes", "prompt": "jazz", "duration": 1, "variations": 2, "output_format": "flac"},
    {"id": "longer", "input_audio": "song.wav", "continuation": True, "duration": 2},
)

SETTINGS = ("--set=model_version=small", "--no-analysis")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, weights: Path, song_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(song_file.read_bytes())


def test_clips_of_a_server_are_those_made_here(server: Server) -> None:
    write_list(*LINES)
    cli.main(["batch", "list.jsonl", "here", *SETTINGS])
    cli.main(["batch", "list.jsonl", "there", *SETTINGS, "--server", str(server.client.base_url)])
    here, there = files("here"), files("there")
    assert set(here) == set(there) and len(here) == 4
    for name, content in here.items():
        if name.startswith("longer"):  # the name of its input audio, in its tags, stays here
            assert np.array_equal(soundfile.read(Path("here", name))[0], soundfile.read(Path("there", name))[0])
        else:
            assert there[name] == content


@pytest.mark.parametrize("is_uploaded", [False, True])
def test_a_clip_of_a_server_is_made_again_from_its_manifest(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch, is_uploaded: bool
) -> None:
    if is_uploaded:
        monkeypatch.setattr(remote, "_MAX_INLINE", 0)
    write_list(LINES[2] | {"seed": 1 + is_uploaded})
    cli.main(["batch", "list.jsonl", "there", *SETTINGS, "--server", str(server.client.base_url)])
    capsys.readouterr()
    assert server.client.get("/files").json()["results"] == []
    cli.main(["recipe", "there/manifest.jsonl", "longer"])
    words = shlex.split(capsys.readouterr().out)
    cli.main(words[words.index("predict") :])
    [made] = files("there").keys() - {Path(words[-1]).name}
    assert np.array_equal(soundfile.read(Path("there", made))[0], soundfile.read(words[-1])[0])


def test_an_interrupted_batch_leaves_the_server_idle(server: Server) -> None:
    write_list(*({"prompt": f"song {number}"} for number in range(40)))
    arguments = ["batch", "list.jsonl", "out", "--set=model_version=small", "--set=duration=60"]
    url = str(server.client.base_url)
    with subprocess.Popen(
        [*COMMAND, *arguments, "--server", url],
        env=environment() | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        wait_until(lambda: server.status() == "BUSY")
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    wait_until(lambda: server.status() == "READY" and server.is_idle())
