"""Manifests: what survives a kill, and who may write."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from musicgen_service.batch.errors import BatchError
from musicgen_service.batch.manifest import Manifest, Shard, read_state, records


def made(name: str, file: str = "", size: int = 4, seconds: float = 2.0) -> dict[str, Any]:
    clips = [{"file": file or f"{name}.wav", "bytes": size, "seconds": seconds, "recipe": {}}]
    timings = {"seconds": 4.0, "at_once": 8}
    return {"id": name, "name": name, "status": "succeeded", "inputs": {}, "clips": clips, "timings": timings}


def failed(name: str) -> dict[str, Any]:
    return {"id": name, "name": name, "status": "failed", "timings": {"seconds": 1.0, "at_once": 8}}


def write(folder: Path, *entries: dict[str, Any], shard: Shard | None = None) -> None:
    manifest = Manifest(folder, shard or Shard())
    for entry in entries:
        manifest.append(entry)
    manifest.close()


def test_a_request_is_made_when_its_files_are_whole(tmp_path: Path) -> None:
    nothing = made("nothing") | {"clips": []}
    write(tmp_path, made("whole"), made("gone"), made("short"), nothing, failed("bad"))
    (tmp_path / "whole.wav").write_bytes(bytes(4))
    (tmp_path / "short.wav").write_bytes(bytes(3))
    state = read_state(tmp_path)
    assert (state.made, state.failed) == ({"whole"}, {"bad"})


def test_the_last_word_counts(tmp_path: Path) -> None:
    write(tmp_path, failed("a"), made("a"))
    (tmp_path / "a.wav").write_bytes(bytes(4))
    assert read_state(tmp_path).made == {"a"} and not read_state(tmp_path).failed


def test_the_rate_is_that_of_requests_at_once(tmp_path: Path) -> None:
    assert read_state(tmp_path).seconds_per_second is None
    write(tmp_path, made("a"), made("b"))
    assert read_state(tmp_path).seconds_per_second == 4  # 4 s of audio in twice 4 s, 8 at once


def test_shards_have_manifests_of_their_own_which_count_together(tmp_path: Path) -> None:
    write(tmp_path, failed("a"), shard=Shard(1, 2))
    write(tmp_path, failed("b"), shard=Shard(2, 2))
    write(tmp_path, failed("c"))
    assert {path.name for path in tmp_path.iterdir()} == {
        "manifest.jsonl",
        "manifest-1-of-2.jsonl",
        "manifest-2-of-2.jsonl",
    }
    assert read_state(tmp_path).failed == {"a", "b", "c"}


def test_what_failed_in_a_manifest_may_be_made_in_another(tmp_path: Path) -> None:
    write(tmp_path, failed("a"))
    write(tmp_path, made("a"), shard=Shard(1, 2))  # whose manifest is read before the other
    (tmp_path / "a.wav").write_bytes(bytes(4))
    state = read_state(tmp_path)
    assert (state.made, state.failed) == ({"a"}, set())


def test_a_name_that_is_no_text_is_read_as_it_was(tmp_path: Path) -> None:
    name = os.fsdecode(b"riff-\xff.wav")
    write(tmp_path, made("a") | {"inputs": {"input_audio": name}})
    [record] = records(tmp_path)
    assert record["inputs"]["input_audio"] == name


@pytest.mark.parametrize("torn", [b'{"name": "b", "sta', b"{}"])
def test_an_unfinished_line_is_left_out_and_removed(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, failed("a"))
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(torn)
    assert read_state(tmp_path).failed == {"a"}
    write(tmp_path, failed("c"))
    assert [json.loads(line)["name"] for line in (tmp_path / "manifest.jsonl").open()] == ["a", "c"]


@pytest.mark.parametrize(
    "damage",
    [
        "{]",
        '{"name": "a"}',
        "[]",
        json.dumps({"id": "b", "name": "b", "status": "succeeded"}),
        json.dumps(made("b") | {"timings": {}}),
        json.dumps(made("b") | {"clips": [{"file": "b.wav"}]}),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, damage: str) -> None:
    write(tmp_path, failed("a"))
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(f"{damage}\n")
    with pytest.raises(
        BatchError, match=r"^Line 2 of .*/manifest.jsonl is damaged: take it out, or restore the file.$"
    ):
        read_state(tmp_path)


def test_one_process_makes_a_shard(tmp_path: Path) -> None:
    first = Manifest(tmp_path, Shard(1, 2))
    second = Manifest(tmp_path, Shard(2, 2))  # which others may make
    with pytest.raises(BatchError, match=r"^Another process is making shard 1/2 in "):
        Manifest(tmp_path, Shard(1, 2))
    with pytest.raises(BatchError, match=r"^Another process is making other shards in .*: see manifest-1-of-2.jsonl.$"):
        Manifest(tmp_path, Shard())
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == []
    Manifest(tmp_path, Shard()).close()
