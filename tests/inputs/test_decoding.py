"""A client's file is fetched, decoded and hashed only once per request."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service import cli, predictors
from musicgen_service.audio import opening, recipe
from musicgen_service.audio.reading import AudioInput
from musicgen_service.inputs import decoding, fetching
from musicgen_service.models import manifest
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.serving.cog_runner import ServiceRunner
from tests.support.harness import file_server
from tests.support.sounds import RATE, tone

SHORT = {"model_version": "melody", "duration": 1, "seed": 5}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(0.5)[0], RATE)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of fetches, decodings and hashes of clients' files."""
    counts: Counter[str] = Counter()

    def count(owner: object, name: str, what: str) -> None:
        function = getattr(owner, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            counts[what] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(fetching, "fetch", "fetched")
    count(opening, "decoder", "decoded")
    count(hashlib, "file_digest", "hashed")
    # Weights are compared with their checksums as well, once.
    monkeypatch.setattr(manifest, "sha256", sha256)
    return counts


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Runner(ServiceRunner):
    """The service as a Cog runner, without declared inputs."""

    def record_metric(self, *_arguments: Any, **_options: Any) -> None:
        """Ignore metrics: there is no prediction."""


@pytest.fixture(scope="module")
def runner(weights: Path) -> Iterator[Runner]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(weights))
        patch.setenv("MUSICGEN_MODELS", "melody")
        patch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
        runner = Runner()
        runner.setup()
        yield runner


ASKED: dict[str, dict[str, Any]] = {
    "melody": {"prompt": "rock"},
    "four variations": {"prompt": "rock", "variations": 4},
    "continuation": {"continuation": True},
    "remix": {"task": "remix", "return_stems": True, "variations": 2},
    "encode-decode": {"task": "encode-decode"},
}


@pytest.mark.parametrize("name", ASKED)
def test_http_request_decodes_once(name: str, runner: Runner, song: Path, counted: Counter[str]) -> None:
    with file_server(song.parent) as address:
        runner.carry_out({"self": runner} | SHORT | ASKED[name] | {"input_audio": f"{address}/{song.name}"}, {})
    assert counted == {"fetched": 1, "decoded": 1, "hashed": 1}


DROP_INS: list[tuple[str, Sequence[str]]] = [
    ("meta_musicgen", ["continuation=true", "duration=1", "prompt=rock"]),
    ("musicgen_custom", ["continuation=true", "duration=1", "prompt=rock", "model_version=melody"]),
    ("musicgen_remixer", ["prompt=rock"]),
]


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize(("system", "pairs"), DROP_INS)
def test_command_line_decodes_once(system: str, pairs: Sequence[str], song: Path, counted: Counter[str]) -> None:
    name = "music_input" if system == "musicgen_remixer" else "input_audio"
    words = [word for pair in (f"{name}=@{song}", *pairs) for word in ("-i", pair)]
    cli.main(["predict", "--as", system, *words, "-o", "clip.wav"])
    assert counted == {"decoded": 1, "hashed": 1}
    assert recipe.read(Path("clip.wav"))["input_audio_sha256"] == hashlib.sha256(song.read_bytes()).hexdigest()


def test_decoded_input_is_kept(song: Path) -> None:
    once = decoding.decode_files({"input_audio": song, "prompt": "rock"}, FIELDS)
    assert isinstance(once["input_audio"], AudioInput) and once["prompt"] == "rock"
    assert (once["input_audio"].name, once["input_audio"].seconds) == ("song.wav", 0.5)
    assert decoding.decode_files(once, FIELDS)["input_audio"] is once["input_audio"]


@pytest.mark.parametrize(
    ("system", "name"), [(None, "input_audio"), (None, "audio_chords"), ("musicgen_remixer", "music_input")]
)
def test_non_audio_error_names_the_input(system: str | None, name: str, tmp_path: Path) -> None:
    page = tmp_path / "song.wav"
    page.write_text("<html>not found</html>")
    with pytest.raises(RequestError) as refused:
        decoding.decode_files({name: page}, predictors.load(system).fields)
    [problem] = refused.value.problems
    assert problem.startswith(f"{name} cannot be used: the file is not audio that can be decoded but a web page")
