"""`MUSICGEN_PRECISION=auto` takes the fastest precision that is close enough to float32, and measures once."""

import json
from pathlib import Path

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.precision import Precision
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import checkpoint_config, loading, precision_check
from musicgen_service.models.precision_check import Finding
from musicgen_service.models.store import WeightStore
from tests.support import checkpoints

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    """Weights of our own, as what is found is kept beside them."""
    checkpoints.build_checkpoint(tmp_path, "small")
    monkeypatch.setenv("MUSICGEN_PRECISION", "auto")
    monkeypatch.setattr(precision_check, "_FRAMES", 12)
    return WeightStore(tmp_path)


def chosen(store: WeightStore) -> Precision:
    generator = loading.load_model(store.checkpoint("small"), CPU).generator
    assert isinstance(generator, Engine)
    return generator.numerics.precision


def test_precision_is_measured_once_and_told(
    store: WeightStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_check, "_MOST_CHANGE", float("inf"))  # findings of a busy machine are not kept
    first = chosen(store)
    assert f"precision of 'small': {first} (" in capsys.readouterr().err
    [file] = (store.root / precision_check.FOLDER).iterdir()
    findings = {Precision(name): Finding(**found) for name, found in json.loads(file.read_text()).items()}
    passing = [name for name, found in findings.items() if found.passes]
    assert first == min(passing, key=lambda name: findings[name].step)
    assert Precision.EXACT in passing and set(findings) == {Precision.EXACT, Precision.INT8}

    def fail(*_arguments: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(precision_check, "_measure", fail)
    assert chosen(store) == first
    for damaged in ("{", "{}", '{"exact": {"nats": null, "agreement": 1, "step": 1}}'):
        file.write_text(damaged)
        with pytest.raises(AssertionError, match="measured again"):
            precision_check.fastest(store.checkpoint("small"), CPU, lambda _precision: fail())  # type: ignore[arg-type,return-value]


def test_what_was_measured_beside_other_work_is_not_kept(
    store: WeightStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter([0.03, 0.05, 0.04])  # of exact, int8 and exact again
    monkeypatch.setattr(precision_check, "_step", lambda _model: next(steps))
    assert chosen(store) is Precision.EXACT
    assert "measured again at the next start" in capsys.readouterr().err
    assert not (store.root / precision_check.FOLDER).exists()


def test_network_that_runs_in_audiocraft_has_one_precision(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_config, "is_supported", lambda _options: False)
    assert isinstance(loading.load_model(store.checkpoint("small"), CPU).generator, ReferenceLoop)


def test_device_too_small_for_float32_keeps_its_default(
    store: WeightStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(precision_check, "_measure", run_out)
    assert chosen(store) is Precision.EXACT
    assert "does not fit this device in float32" in capsys.readouterr().err


def test_fastest_of_those_that_are_close_enough_is_chosen(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        Precision.EXACT: Finding(0.0, 1.0, 0.03),
        Precision.BF16: Finding(0.001, 0.96, 0.01),
        Precision.INT8: Finding(0.001, 0.98, 0.02),
    }
    monkeypatch.setattr(precision_check, "_measure", lambda *_: (found, True))
    assert chosen(store) is Precision.INT8


def test_other_machine_measures_for_itself(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_check, "_measure", lambda *_: ({Precision.EXACT: Finding(0.0, 1.0, 0.03)}, True))
    assert chosen(store) is Precision.EXACT
    faster = {Precision.EXACT: Finding(0.0, 1.0, 0.03), Precision.INT8: Finding(0.0, 1.0, 0.02)}
    monkeypatch.setattr(precision_check, "_measure", lambda *_: (faster, True))
    assert chosen(store) is Precision.EXACT
    monkeypatch.setattr(precision_check, "__version__", "99")
    assert chosen(store) is Precision.INT8


def test_weights_that_cannot_be_written_are_told(
    store: WeightStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_check, "_measure", lambda *_: ({Precision.EXACT: Finding(0.0, 1.0, 0.03)}, True))
    (store.root / precision_check.FOLDER).write_text("not a folder")
    assert chosen(store) is Precision.EXACT
    assert "cannot be kept" in capsys.readouterr().err
