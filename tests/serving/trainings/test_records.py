"""What is kept of trainings."""

from pathlib import Path

import pytest

from musicgen_service.serving import training_records
from musicgen_service.serving.training_records import TrainingRecords


def test_a_training_killed_with_its_service_is_told_as_failed(tmp_path: Path) -> None:
    record = {"id": "a", "owner": "me", "name": "mine", "is_preview": False, "created_at": "2026-01-01"}
    TrainingRecords(tmp_path / "kept").put(record | {"status": "processing", "error": None})
    (tmp_path / "kept" / "damaged.json").write_text("{")
    [found] = TrainingRecords(tmp_path / "kept").owned_by("me")
    assert (found["status"], found["error"]) == ("failed", training_records.INTERRUPTED)
    assert TrainingRecords(tmp_path / "kept").find("you", "a") is None


def test_the_oldest_records_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_records, "KEPT", 3)
    records = TrainingRecords(tmp_path / "kept")
    for number in range(5):
        status = "processing" if number == 0 else "succeeded"
        records.put({"id": str(number), "owner": "me", "status": status, "created_at": str(number)})
    assert [found["id"] for found in records.owned_by("me")] == ["4", "3", "0"]
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"0.json", "3.json", "4.json"}
