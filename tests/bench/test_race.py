"""The table of a race, and who takes part in it."""

import importlib.util

import pytest
import torch

from bench import implementations, race
from bench.implementations import Implementations
from bench.race import Row
from musicgen_service.engine.interface import OnStep
from musicgen_service.models.store import WeightStore

ROWS = [
    Row("ours exact", {0: [20.0, 22.0], 700: [40.0, 41.0]}, 0.0, 1.0),
    Row("ours int8", {0: [10.0, 12.0], 700: [30.0, 31.0]}, 0.001, 0.98),
    Row("ours int4", {0: [5.0, 6.0], 700: [15.0, 16.0]}, 0.2, 0.7),
    Row("other float32", {0: [50.0, 60.0], 700: [90.0, 90.0]}, 0.0, 1.0),
    Row("other bf16", {0: [8.0, 9.0], 700: [45.0, 46.0]}, 0.05, 0.9),
]


@pytest.mark.slow
def test_a_race_times_and_compares_everybody(store: WeightStore) -> None:
    names = ["ours exact", "ours int8", "audiocraft float32", "transformers float32"]
    loaded = Implementations(store, "small", torch.device("cpu"), room=30)
    rows = race.run(loaded, names, torch.device("cpu"), positions=[0, 12], frames=8, turns=2, scored=20)
    assert [row.name for row in rows] == names
    for row in rows:
        assert all(len(turns) == 2 and min(turns) > 0 for turns in row.milliseconds.values())
        assert row.milliseconds.keys() == {0, 12}
    exact, int8, *others = rows
    assert all(row.kl == pytest.approx(0, abs=1e-6) and row.agreement == 1 for row in (exact, *others))
    assert 1e-6 < int8.kl < 0.1
    assert len(race.table(rows, {})) > len(names)


def test_the_best_of_ours_is_the_fastest_whose_predictions_are_close_enough() -> None:
    lines = race.table(ROWS, {})
    row = next(line for line in lines if line.startswith("other bf16"))
    assert row.split()[2:8] == ["8.50", "8.00", "0.80", "45.50", "45.00", "1.50"]
    assert [line.split()[-1] for line in lines if line.startswith(("ours", "other"))] == [
        "yes",
        "yes",
        "no",
        "yes",
        "no",
    ]


def test_the_fastest_of_every_peer_is_named_with_the_fastest_that_passes() -> None:
    text = "\n".join(race.table(ROWS, {}))
    assert "at frame 0, in times of ours int8" in text
    assert "other: bf16 0.80; of those that pass, float32 5.00" in text
    assert "other: bf16 1.50; of those that pass, float32 3.00" in text


def test_steps_are_timed_after_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 9.0, 18.0, 27.0, 36.0, 45.0, 45.1, 45.3, 45.4])
    monkeypatch.setattr("bench.race.time.perf_counter", lambda: next(now))

    def generate(prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        for step in range(frames):
            on_step(step + 1, frames)
        return torch.zeros(4, frames)

    assert race.ms_per_step(generate, None, 9, torch.device("cpu")) == pytest.approx(100)


def test_steps_are_timed_with_real_time_priority_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bool | str] = []
    monkeypatch.setattr("bench.priority.set_real_time", said.append)

    def generate(prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        said.append("prefill")
        for step in range(frames):
            on_step(step + 1, frames)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        race.ms_per_step(generate, None, 9, torch.device("cpu"), real_time=True)
    assert said == ["prefill", True, False]


def test_a_peer_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        implementations, "find_spec", lambda name: None if name in {"nncf", "fast_musicgen"} else found("sys")
    )
    absence = implementations.absence
    assert absence("openvino int8", True) == "openvino is left out, as packages are not installed: pip install nncf"
    assert absence("fast-musicgen half", True) == (
        "fast-musicgen is left out, as packages are not installed: pip install fast-musicgen"
    )
    assert absence("onnxruntime int4", True) is None


def test_a_peer_for_texts_alone_takes_no_melody_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "find_spec", lambda _name: importlib.util.find_spec("sys"))
    assert "without cross-attention" in (implementations.absence("fast-musicgen float32", False) or "")
