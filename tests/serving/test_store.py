"""The database of results, and their files."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.serving.files import Files, absolute
from musicgen_service.serving.results import Results
from musicgen_service.serving.store import Store


def uri(content: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "predictions.sqlite")


def test_jobs_are_found_by_owner_and_id(store: Store) -> None:
    for key, owner, name in (("1", "a", "x"), ("2", "a", "x"), ("3", "b", "x"), ("4", "a", "y")):
        store.add(key, owner, {"id": name, "key": key, "created_at": key}, None, 0)
    found = store.find("a", "x")
    assert found is not None and found["key"] == "2" and store.find("c", "x") is None
    assert [job["key"] for job in store.owned_by("a")] == ["4", "2", "1"]


def test_the_one_of_an_id_that_was_asked_for_last_is_found(store: Store) -> None:
    store.add("1", "a", {"id": "x", "created_at": "2"}, None, 0)
    for key, asked in (("2", "1"), ("3", "3")):
        store.add_unfinished(key, "process", "a", {"id": "x", "created_at": asked}, {})
        found = store.find("a", "x")
        assert found is not None and found["created_at"] == max(asked, "2")
    assert [job["created_at"] for job in store.owned_by("a")] == ["3", "1", "2"]


def test_old_and_large_ones_are_removed(store: Store) -> None:
    for number in range(5):
        store.add(str(number), "a", {"id": str(number)}, f"token {number}", 1000)
    assert store.remove(0, 5100) == []
    assert store.remove(0, 2500) == ["token 2", "token 1", "token 0"]
    assert store.tokens() == {"token 3", "token 4"}
    assert sorted(store.remove(time.time() + 1, 5000)) == ["token 3", "token 4"]


def test_what_is_kept_of_predictions_without_files_counts(store: Store) -> None:
    for number in range(5):
        store.add(str(number), "a", {"id": str(number), "logs": "x" * 1000}, None, 0)
    assert store.remove(0, 2500) == [] and [job["id"] for job in store.owned_by("a")] == ["4", "3"]


def test_a_damaged_database_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "predictions.sqlite").write_bytes(b"no database" * 1000)
    assert Store(tmp_path / "predictions.sqlite").owned_by("a") == []


def test_the_disk_has_the_room_of_large_inputs_back(store: Store, tmp_path: Path) -> None:
    def size() -> int:
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    store.add_unfinished("1", "process", "a", {"id": "x"}, {"inputs": {"input_audio": "x" * 10**7}})
    assert size() > 10**7
    store.add("1", "a", {"id": "x"}, None, 0)
    for number in range(3):  # what was written ahead is given up by what is written next
        store.add(str(number), "a", {"id": "y"}, None, 0)
    assert size() < 2 * 10**6
    store.close()


OUTPUTS = {
    "file": (uri(b"a", "audio/mpeg"), {"output.mp3"}),
    "list": (
        [uri(b"a"), uri(b"b", "audio/ogg"), uri(b"c", "application/x-thing")],
        {"output-01.wav", "output-02.ogg", "output-03.bin"},
    ),
    "MIDI": ([uri(b"a"), uri(b"b", "audio/mid")], {"output-01.wav", "output-02.mid"}),
    "object": ({"variation_01": uri(b"a"), "../x": uri(b"b"), "variation_02": None}, {"variation_01.wav", "---x.wav"}),
    "text": ("data:nothing", set[str]()),
}
NAMED: dict[str, tuple[list[str], list[str]]] = {
    "as given": (["text-7-01.wav", "text-7-01.mid"], ["text-7-01.wav", "text-7-01.mid"]),
    "no name": (["../../x.wav", ".hidden.mid"], ["output-01.wav", "output-02.mid"]),
    "of another kind": (["a.mp3", "b.wav"], ["output-01.wav", "output-02.mid"]),
    "twice": (["output-02.wav", "output-02.wav"], ["output-02.wav", "output-02.mid"]),
    "too few": (["a.wav"], ["output-01.wav", "output-02.mid"]),
    "too many": (["a.wav", "b.mid", "c.wav"], ["output-01.wav", "output-02.mid"]),
}


@pytest.mark.parametrize("case", NAMED)
def test_files_have_the_names_of_the_predictor(tmp_path: Path, case: str) -> None:
    given, expected = NAMED[case]
    saved = Files(tmp_path).save([uri(b"sound"), uri(b"notes", "audio/mid")], given)
    assert [address.rpartition("/")[2] for address in saved.output] == expected
    assert [(tmp_path / saved.token / name).read_bytes() for name in expected] == [b"sound", b"notes"]


@pytest.mark.parametrize("kind", OUTPUTS)
def test_files_keep_the_shape_of_the_output(tmp_path: Path, kind: str) -> None:
    output, names = OUTPUTS[kind]
    files = Files(tmp_path)
    saved = files.save(output)
    assert {path.name for path in (tmp_path / saved.token).iterdir()} == names
    shown: Any = absolute(saved.output, "http://a")
    assert type(shown) is type(output) and saved.size == len(names)
    if names:
        assert all(files.find(saved.token, name) for name in names) and "http://a/files/" in str(shown)
    files.remove(saved.token)
    assert not any(files.find(saved.token, name) for name in names)


def test_tokens_differ(tmp_path: Path) -> None:
    assert len({Files(tmp_path).save(uri(b"a")).token for _ in range(10)}) == 10


def test_files_without_a_note_are_removed(tmp_path: Path) -> None:
    results = Results(tmp_path, 3600)
    saved = results.files.save(uri(b"a"))
    results._sweep(time.time())
    assert results.files.find(saved.token, "output.wav")
    results._sweep(time.time() + 601)
    assert not results.files.find(saved.token, "output.wav")
    asyncio.run(results.close())
