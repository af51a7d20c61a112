"""What is kept of trainings: a file of JSON for each, over restarts."""

import os
import threading
from pathlib import Path
from typing import Any

from musicgen_service.progress import log
from musicgen_service.serving import json_text
from musicgen_service.serving.prediction import ENDED

KEPT = 200
"""Number of trainings that are kept; beyond it, the oldest are removed."""
INTERRUPTED = "The service ended in this training: the same request goes on where it was."


class TrainingRecords:
    """Keeps trainings; those that had not ended when the service did are noted as failed. For several threads.

    Parameters
    ----------
    folder : is made if it is missing
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)
        self._records: dict[str, dict[str, Any]] = {}
        found = filter(None, map(_read, folder.glob("*.json")))
        for record in sorted(found, key=lambda record: record["created_at"]):
            if record["status"] not in ENDED:
                record |= {"status": "failed", "error": INTERRUPTED}
                self.put(record)
            self._records[record["id"]] = record

    def put(self, record: dict[str, Any]) -> None:
        """Keep a training as it is now."""
        with self._lock:
            self._records[record["id"]] = record
            ended = [key for key, kept in self._records.items() if kept["status"] in ENDED]
            old = ended[: max(0, len(self._records) - KEPT)]
            for key in old:
                del self._records[key]
        file = self._file(record["id"])
        unfinished = file.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as target:
                target.write(json_text.encode(record))
                target.flush()
                os.fsync(target.fileno())
            unfinished.replace(file)
            for key in old:
                self._file(key).unlink(missing_ok=True)
        except OSError as error:
            log(f"training {record['id']} is not kept: {error.strerror}")

    def find(self, owner: str, training_id: str) -> dict[str, Any] | None:
        """A client's training of that id."""
        found = self._records.get(training_id)
        return found if found is not None and found["owner"] == owner else None

    def owned_by(self, owner: str) -> list[dict[str, Any]]:
        """A client's trainings, the newest first."""
        return [record for record in self._newest() if record["owner"] == owner]

    def owner_of(self, name: str) -> str | None:
        """The client that has trained an adapter of that name last, or None."""
        return next((kept["owner"] for kept in self._newest() if kept["name"] == name and not kept["is_preview"]), None)

    def _newest(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(reversed(self._records.values()))

    def _file(self, training_id: str) -> Path:
        return self._folder / f"{training_id}.json"


def _read(file: Path) -> dict[str, Any] | None:
    try:
        record = json_text.decode(file.read_bytes())
        return record if {"id", "owner", "status", "created_at"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None
