"""Finished predictions and uploads in a database of one file, which survives a restart."""

import secrets
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicgen_service.serving import json_text

# Inputs of predictions that have not ended may be large; the disk has their room back afterwards.
# Written ahead, a result costs no wait for the disk; one of the last moments may be lost with the power.
_SCHEMA = """
PRAGMA auto_vacuum = FULL;
PRAGMA journal_size_limit = 1048576;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS predictions (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, completed_at REAL NOT NULL,
    token TEXT, size INTEGER NOT NULL, job BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_owner ON predictions (owner, id, completed_at);
CREATE INDEX IF NOT EXISTS by_time ON predictions (completed_at);
CREATE TABLE IF NOT EXISTS unfinished (
    key TEXT PRIMARY KEY, process TEXT NOT NULL, owner TEXT NOT NULL, id TEXT NOT NULL, job BLOB NOT NULL,
    request BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS uploads (
    token TEXT PRIMARY KEY, owner TEXT NOT NULL, created_at REAL NOT NULL, size INTEGER NOT NULL, about BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS uploads_by_owner ON uploads (owner, created_at);
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
            database.execute("DELETE FROM unfinished WHERE key = ?", (key,))

    def add_unfinished(self, key: str, process: str, owner: str, job: dict[str, Any], request: dict[str, Any]) -> None:
        """Add a prediction that has not ended, until `add` does; see there.

        Parameters
        ----------
        process : which carries it out
        request : what is needed to carry it out, and to tell of its end
        """
        row = (key, process, owner, job["id"], json_text.encode(job), json_text.encode(request))
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO unfinished VALUES (?, ?, ?, ?, ?, ?)", row)

    def processes(self) -> set[str]:
        """The processes that have predictions which have not ended."""
        with self._transaction() as database:
            return {row[0] for row in database.execute("SELECT DISTINCT process FROM unfinished")}

    def hand_on(self, before: str, process: str) -> None:
        """Note for the predictions of a process that another one has them."""
        with self._transaction() as database:
            database.execute("UPDATE unfinished SET process = ? WHERE process = ?", (process, before))

    def claim(self, before: str, process: str) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """Have a process carry on with the predictions of another one, unless a third one does.

        Returns
        -------
        Key, owner, job and request of each; its key is a new one, as the old one may still be in use
        """
        claimed = []
        with self._transaction() as database:
            query = "SELECT key, owner, job, request FROM unfinished WHERE process = ? ORDER BY rowid"
            for old, owner, *texts in database.execute(query, (before,)).fetchall():
                key = secrets.token_hex(16)
                change = "UPDATE unfinished SET key = ?, process = ? WHERE key = ? AND process = ?"
                if database.execute(change, (key, process, old, before)).rowcount:
                    job, request = map(json_text.decode, texts)
                    claimed.append((key, owner, job, request))
        return claimed

    def find(self, owner: str, prediction_id: str) -> dict[str, Any] | None:
        """The prediction of that id that an owner has asked for last, whether or not it has ended."""
        condition = "owner = ? AND id = ?"
        found = self._jobs(f"predictions WHERE {condition} ORDER BY completed_at DESC LIMIT 1", owner, prediction_id)
        found += self._jobs(f"unfinished WHERE {condition} ORDER BY rowid DESC LIMIT 1", owner, prediction_id)
        return max(found, key=lambda job: str(job["created_at"]), default=None)

    def with_key(self, key: str) -> dict[str, Any] | None:
        """Whoever's prediction that has this key and has ended."""
        found = self._jobs("predictions WHERE key = ?", key)
        return found[0] if found else None

    def owned_by(self, owner: str) -> list[dict[str, Any]]:
        """The latest predictions of an owner, those that have not ended before others, the newest of each first."""
        found = self._jobs(f"unfinished WHERE owner = ? ORDER BY rowid DESC LIMIT {_LISTED}", owner)
        found += self._jobs(f"predictions WHERE owner = ? ORDER BY completed_at DESC LIMIT {_LISTED}", owner)
        return found[:_LISTED]

    def _jobs(self, source: str, *values: str) -> list[dict[str, Any]]:
        with self._transaction() as database:
            rows = database.execute(f"SELECT job FROM {source}", values).fetchall()
        return [json_text.decode(row[0]) for row in rows]

    def add_upload(self, token: str, owner: str, size: int, about: dict[str, Any]) -> None:
        """Add an upload.

        Parameters
        ----------
        token : unique
        owner : who may see it
        size : in bytes
        about : what they see
        """
        with self._transaction() as database:
            row = (token, owner, time.time(), size, json_text.encode(about))
            database.execute("INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", row)

    def uploads_of(self, owner: str, token: str | None = None) -> list[dict[str, Any]]:
        """What is known of an owner's uploads, the newest first; with a token, of that one."""
        query = "SELECT about FROM uploads WHERE owner = ? AND (? IS NULL OR token = ?) ORDER BY created_at DESC"
        with self._transaction() as database:
            return [json_text.decode(row[0]) for row in database.execute(query, (owner, token, token))]

    def size_of_uploads(self, owner: str | None = None) -> tuple[int, int]:
        """Number and bytes of the uploads of an owner, or of all."""
        query = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM uploads WHERE ? IS NULL OR owner = ?"
        with self._transaction() as database:
            count, size = database.execute(query, (owner, owner)).fetchone()
        return count, size

    def remove_upload(self, owner: str, token: str) -> bool:
        """Remove an owner's upload; returns whether there was one."""
        with self._transaction() as database:
            query = "DELETE FROM uploads WHERE owner = ? AND token = ?"
            return database.execute(query, (owner, token)).rowcount > 0

    def tokens(self) -> set[str]:
        """The tokens of all files."""
        query = "SELECT token FROM predictions WHERE token IS NOT NULL UNION SELECT token FROM uploads"
        with self._transaction() as database:
            return {row[0] for row in database.execute(query)}

    def remove(self, before: float, size: int, used: Collection[str] = ()) -> list[str]:
        """Remove predictions and uploads from before a time, and the oldest predictions beyond a size.

        Parameters
        ----------
        before : in seconds since the epoch
        size : of all predictions together, their files and what is kept of them here, in bytes
        used : tokens of files that stay

        Returns
        -------
        The tokens of the files that are not needed any more
        """
        total = "SUM(size + LENGTH(job)) OVER (ORDER BY completed_at DESC, key)"
        query = f"SELECT key, token, completed_at, {total} FROM predictions"
        with self._transaction() as database:
            old = [row for row in database.execute(query) if (row[2] < before or row[3] > size) and row[1] not in used]
            database.executemany("DELETE FROM predictions WHERE key = ?", [(row[0],) for row in old])
            tokens = [row[1] for row in old if row[1] is not None]
            uploads = database.execute("SELECT token FROM uploads WHERE created_at < ?", (before,)).fetchall()
            expired = [row for row in uploads if row[0] not in used]
            database.executemany("DELETE FROM uploads WHERE token = ?", expired)
        return tokens + [row[0] for row in expired]
