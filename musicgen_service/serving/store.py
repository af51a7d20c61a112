"""Finished predictions in a database of one file, which survives a restart."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicgen_service.serving import json_text

# Written ahead, a result costs no wait for the disk; one of the last moments may be lost with the power.
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS predictions (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, completed_at REAL NOT NULL,
    token TEXT, size INTEGER NOT NULL, job BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_owner ON predictions (owner, id, completed_at);
CREATE INDEX IF NOT EXISTS by_time ON predictions (completed_at);
"""
_LISTED = 100
"""Maximum number of predictions in a list."""


class Store:
    """The database; may be used by several threads.

    Parameters
    ----------
    file : is made if it is missing, and made anew if it is no database

    Raises
    ------
    sqlite3.Error
        When it cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._open(file)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            file.unlink()
            self._open(file)

    def _open(self, file: Path) -> None:
        self._database = sqlite3.connect(file, check_same_thread=False)
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database:
            yield self._database

    def add(self, key: str, owner: str, job: dict[str, Any], token: str | None, size: int) -> None:
        """Add a prediction that has ended.

        Parameters
        ----------
        key : unique
        owner : who may see it
        job : what they see
        token, size : of its files
        """
        row = (key, owner, job["id"], time.time(), token, size, json_text.encode(job))
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def find(self, owner: str, prediction_id: str) -> dict[str, Any] | None:
        """The latest prediction of that id that an owner has."""
        found = self._jobs("owner = ? AND id = ? ORDER BY completed_at DESC LIMIT 1", owner, prediction_id)
        return found[0] if found else None

    def owned_by(self, owner: str) -> list[dict[str, Any]]:
        """The latest predictions of an owner, the newest first."""
        return self._jobs(f"owner = ? ORDER BY completed_at DESC LIMIT {_LISTED}", owner)

    def _jobs(self, condition: str, *values: str) -> list[dict[str, Any]]:
        with self._transaction() as database:
            rows = database.execute(f"SELECT job FROM predictions WHERE {condition}", values).fetchall()
        return [json_text.decode(row[0]) for row in rows]

    def tokens(self) -> set[str]:
        """The tokens of all files."""
        with self._transaction() as database:
            return {row[0] for row in database.execute("SELECT token FROM predictions WHERE token IS NOT NULL")}

    def remove(self, before: float, size: int) -> list[str]:
        """Remove predictions that ended before a time, and the oldest beyond a size.

        Parameters
        ----------
        before : in seconds since the epoch
        size : of all files together, in bytes

        Returns
        -------
        The tokens of the files that are not needed any more
        """
        query = "SELECT key, token, completed_at, SUM(size) OVER (ORDER BY completed_at DESC, key) FROM predictions"
        with self._transaction() as database:
            old = [row for row in database.execute(query) if row[2] < before or row[3] > size]
            database.executemany("DELETE FROM predictions WHERE key = ?", [(row[0],) for row in old])
        return [row[1] for row in old if row[1] is not None]
