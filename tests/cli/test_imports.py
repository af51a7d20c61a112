"""A request imports only what it needs: no audiocraft, and no slow library that it does not use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from musicgen_service.models import loading
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.store import WeightsError, WeightStore
from tests.support.shell import environment
from tests.support.sounds import RATE, tone

WEIGHTS = str(Path("weights").resolve())
ABSENT = ("audiocraft", "torchaudio", "transformers", "omegaconf", "demucs")
SLOW_EARS = ("librosa", "numba", "sklearn", "scipy.signal", "scipy.stats", "pyloudnorm")
PROGRAM = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from musicgen_service import cli
try:
    cli.main(sys.argv[2:])
finally:
    print(json.dumps(list(sys.modules)))
"""


def run(folder: Path, *words: str, absent: tuple[str, ...] = ()) -> set[str]:
    """Run a command in another process; returns the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, " ".join(absent), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | {"MUSICGEN_WEIGHTS": WEIGHTS},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def predict(folder: Path, *arguments: str, absent: tuple[str, ...] = ()) -> set[str]:
    """Make a clip with the shipped checkpoint in another process; returns the modules that it imported."""
    words = ["predict", "lofi piano, 90 bpm", "-o", "clip.wav", "--duration", "5", "--seed", "1", *arguments]
    imported = run(folder, *words, absent=absent)
    assert soundfile.info(folder / "clip.wav").duration > 1
    return imported


def test_text_request_imports_no_slow_library(tmp_path: Path) -> None:
    imported = predict(tmp_path)
    assert "musicgen_service.models.encodec" in imported
    assert "musicgen_service.models.spleeter_separator" not in imported
    slow = {
        *ABSENT,
        *SLOW_EARS,
        "onnxruntime",
        "mido",
        "h5py",
        "scipy.ndimage",
        "matplotlib",
        "sympy",
        "torch._dynamo",
        "torch.distributed.tensor",
    }
    assert not slow & imported
    assert len([name for name in imported if name.partition(".")[0] != "torch"]) < 1000


def test_analysis_imports_no_slow_library(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "song.wav", tone(3)[0], RATE)
    imported = run(tmp_path, "analyse", "song.wav")
    assert {"musicgen_service.models.beatnet", "musicgen_service.models.crema"} <= imported
    assert not {*ABSENT, *SLOW_EARS, "torch", "onnxruntime", "matplotlib"} & imported
    assert len(imported) < 800


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--input_audio", "song.wav"],
        ["--input_audio", "song.wav", "--continuation"],
        ["--task", "loop"],
        ["--task", "remix", "--input_audio", "song.wav"],
    ],
    ids=["melody", "continuation", "loop", "remix"],
)
def test_other_tasks_do_not_need_audiocraft(tmp_path: Path, arguments: list[str]) -> None:
    soundfile.write(tmp_path / "song.wav", tone(3)[0], RATE)
    assert not set(SLOW_EARS) & predict(tmp_path, *arguments, absent=ABSENT)


@pytest.fixture
def without_audiocraft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("musicgen_service.models.audiocraft_adapter", raising=False)
    monkeypatch.setitem(sys.modules, "musicgen_service.models.audiocraft_adapter", None)


@pytest.mark.usefixtures("without_audiocraft")
def test_missing_audiocraft_is_reported_with_its_install_command(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    cpu = torch.device("cpu")
    command = "run `pip install --no-deps audiocraft==1.3.0`.$"
    model = loading.load_model(store.checkpoint("small"), cpu)
    with pytest.raises(WeightsError, match=f"^MultiBand Diffusion needs audiocraft: {command}"):
        loading.load_diffusion(model, store.component(DIFFUSION))
    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")
    with pytest.raises(WeightsError, match=f"^The reference engine needs audiocraft: {command}"):
        loading.load_model(store.checkpoint("small"), cpu)
