"""Restarting a server, and running it without a schema file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.threads import WAIT_POLICY
from tests.support.harness import PROJECT, Clip, Server, http_server, serving, wait_until

Start = Callable[..., AbstractContextManager[Server]]
SHORT = {"prompt": "rock", "model_version": "small", "duration": 1}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the predictor and no `.cog/openapi_schema.json`, as for a manually started server."""
    folder = tmp_path_factory.mktemp("bare")
    for name in ("predict.py", "musicgen_service"):
        (folder / name).symlink_to(PROJECT / name)
    return folder


@pytest.fixture(scope="module")
def start(weights: Path, bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start Cog's server in that folder, each time with the same temporary folder."""
    settings = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        "MUSICGEN_WEIGHTS": str(weights),
        "MUSICGEN_MODELS": "small",
        "OMP_DISPLAY_ENV": "VERBOSE",
        **dict.fromkeys(WAIT_POLICY, ""),
    }
    temp = tmp_path_factory.mktemp("process") / "temp"

    def start(**changes: str) -> AbstractContextManager[Server]:
        return serving(["-m", "cog.server.http", "--host", "127.0.0.1"], bare, temp, **settings | changes)

    return start


@pytest.fixture(scope="module")
def server(start: Start) -> Iterator[Server]:
    with start(MUSICGEN_ALLOW_PRIVATE_URLS="0") as running:
        yield running


def test_worker_threads_sleep_while_waiting(server: Server) -> None:
    log = server.log.read_text()
    assert "GOMP_SPINCOUNT = '0'" in log and "GOMP_SPINCOUNT = '300000'" not in log


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"model_version": "tiny"}, "model_version must be one of auto, small,"),
        ({"duration": "abc"}, "duration must be a number from 1 to 600, not 'abc'."),
        ({"duration": 601}, "duration must be a number from 1 to 600, not 601."),
        ({"seed": 1.5}, "seed must be a whole number from -1 to 4294967295, not 1.5."),
        ({"continuation": 1}, "continuation must be true or false, not 1."),
        ({"input_audio": "/etc/passwd"}, "input_audio must be an http(s) URL or a data URI, not '/etc/passwd'."),
        ({"duration": 0, "top_p": 2}, "2 problems: (1) duration must be"),
    ],
)
def test_rules_hold_without_a_schema_file(server: Server, inputs: dict[str, Any], sentence: str) -> None:
    reply = server.predict(**SHORT | inputs)
    assert reply["status"] == "failed"
    assert sentence in reply["error"]


def test_null_input_takes_its_default_without_a_schema_file(server: Server) -> None:
    assert server.make(**SHORT, bpm=None, continuation_end=None)


def test_manually_started_server_fetches_no_private_address(server: Server) -> None:
    requested: list[str] = []

    class Private(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_error(404)

    with http_server(Private) as address:
        reply = server.predict(**SHORT, input_audio=f"{address}/song.wav")
    assert reply["status"] == "failed"
    assert "input_audio could not be fetched: its host is not on the public internet." in reply["error"]
    assert requested == []


def test_server_stops_on_a_signal_and_starts_again(server: Server, start: Start) -> None:
    [before] = server.make(**SHORT, seed=5)
    assert server.files()
    server.stop()
    with pytest.raises(Exception, match="refused"):
        server.status()
    with start() as again:
        assert again.files() == []  # what the ended process had made is gone
        [after] = again.make(**SHORT, seed=5)
    assert isinstance(after, Clip)
    assert after.content == before.content


def test_missing_model_is_reported_by_the_server(start: Start) -> None:
    with start(status="SETUP_FAILED", MUSICGEN_MODELS="large") as failed:
        sentence = "'large' is not in the weights folder: run `python -m musicgen_service weights fetch large`"
        assert sentence in failed.client.get("/health-check").json()["setup"]["logs"]
        assert sentence in failed.log.read_text()
        assert failed.post({"input": SHORT}).status_code == 503


WARNING = """
import logging, warnings
import predict

class Predictor(predict.Predictor):
    def translate(self, inputs):
        warnings.warn("from python")
        logging.getLogger("a.library").warning("from a library")
        logging.getLogger("transformers").warning("from one with a handler of its own")
        return super().translate(inputs)
"""


def test_library_output_goes_to_server_log_only(start: Start, bare: Path) -> None:
    (bare / "warning.py").write_text(WARNING)
    with start(COG_PREDICT_TYPE_STUB="warning.py:Predictor") as server:
        reply = server.predict(**SHORT)
        texts = ("from python", "from a library", "from one with a handler of its own")
        wait_until(lambda: all(text in server.log.read_text() for text in texts))
    assert reply["status"] == "succeeded" and "task text, model small" in reply["logs"]
    assert not any(text in reply["logs"] for text in texts)
