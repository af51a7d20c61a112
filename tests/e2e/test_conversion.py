"""A clip in another format than it was made in."""

import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from musicgen_service.audio import recipe
from tests.support.harness import Clip, Server, wait_until

TYPES = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg"}


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    """The address of a clip in wav."""
    body = {"input": {"prompt": "solo piano", "model_version": "demo", "duration": 2, "seed": 4}}
    [output] = server.post(body, Prefer="output=url").json()["output"]
    return str(output)


@pytest.mark.parametrize("wanted", TYPES)
def test_a_clip_is_converted_with_its_recipe(server: Server, address: str, wanted: str, tmp_path: Path) -> None:
    reply = server.client.get(f"{address}?format={wanted}")
    assert reply.headers["content-type"] == TYPES[wanted]
    assert f'.{wanted}"' in reply.headers["content-disposition"]
    file = tmp_path / f"clip.{wanted}"
    file.write_bytes(reply.content)
    original, samples = Clip.from_uri(address).samples, soundfile.read(file, always_2d=True)[0]
    assert samples.shape == original.shape and np.corrcoef(samples[:, 0], original[:, 0])[0, 1] > 0.98
    assert wanted in ("ogg", "mp3") or np.array_equal(samples, original)
    found = recipe.read(file)
    assert (found["seed"], found["prompt"], found["output_format"]) == (4, "solo piano", wanted)


@pytest.mark.parametrize(
    "headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=x"}, {"Range": "bytes=999999999-"}], ids=str
)
def test_a_conversion_leaves_no_file(server: Server, address: str, headers: dict[str, str]) -> None:
    server.client.get(f"{address}?format=mp3", headers=headers)
    wait_until(lambda: names_beside(server, address) == [address.split("/")[-1]])


def test_a_conversion_whose_client_hangs_up_leaves_no_file(server: Server, address: str) -> None:
    with suppress(httpx.ReadTimeout):
        server.client.get(f"{address}?format=ogg", timeout=0.02)
    time.sleep(1)  # it has begun, or has been given up
    wait_until(lambda: names_beside(server, address) == [address.split("/")[-1]])


def names_beside(server: Server, address: str) -> list[str]:
    """The names of all files in the folder of a served file."""
    [folder] = server.temp.with_suffix(".results").rglob(address.split("/")[-2])
    return [path.name for path in folder.iterdir()]


def test_a_format_that_there_is_none_of_is_refused(server: Server, address: str) -> None:
    reply = server.client.get(f"{address}?format=aac")
    assert reply.status_code == 422 and reply.json()["error"].startswith("format must be one of wav, mp3, flac, ogg")
