"""The command `batch` in this process: what it makes, what it skips, and what it says."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_service import cli
from musicgen_service.audio import recipe
from musicgen_service.batch.manifest import Manifest, Shard
from musicgen_service.paths import text
from musicgen_service.serving.cog_runner import ServiceRunner
from tests.support.batches import SHORT, batch, files, records, write_list
from tests.support.command import Capture
from tests.support.harness import file_server
from tests.support.shell import refusal
from tests.support.sounds import RATE, tone

pytestmark = pytest.mark.usefixtures("shell")
THREE = ({"prompt": "rock"}, {"prompt": "jazz"}, {"id": "x", "prompt": "blues", "seed": 3})


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is loaded."""

    def load(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(ServiceRunner, "start", load)


def test_clips_are_made_and_listed(capsys: Capture) -> None:
    write_list(*THREE)
    batch()
    assert capsys.readouterr().out == "3 requests: 0 made, 3 to make, 3 s of audio\nmade 3 of 3 in out\n"
    listed = {record["id"]: record for record in records()}
    assert set(listed) == {"rock", "jazz", "x"} and set(files()) == {f"{r['name']}.wav" for r in listed.values()}
    for record in listed.values():
        [clip] = record["clips"]
        file = Path("out", clip["file"])
        assert (record["status"], clip["bytes"], clip["seconds"]) == ("succeeded", file.stat().st_size, 1)
        assert (
            clip["recipe"] == recipe.read(file) and clip["seed"] == record["inputs"]["seed"] == clip["recipe"]["seed"]
        )
        assert clip["loudness_lufs"] == pytest.approx(-14, abs=0.3)
        assert 0 < record["timings"]["predict_seconds"] <= record["timings"]["seconds"]
    assert listed["x"]["line"] == 3 and listed["x"]["clips"][0]["seed"] == 3


def test_clips_are_those_of_one_after_the_other_and_of_predict() -> None:
    write_list(*THREE)
    batch()
    cli.main(["batch", "list.jsonl", "alone", *SHORT, "--at-once=1"])
    assert files("out") == files("alone")
    cli.main("predict blues --duration 1 --model_version small --seed 3 -o x.wav".split())
    assert Path("x.wav").read_bytes() in files().values()


def test_tempo_and_key_are_heard() -> None:
    write_list({"prompt": "rock"})
    cli.main(["batch", "list.jsonl", "out", "--set=duration=1", "--set=model_version=small"])
    [clip] = records()[0]["clips"]
    assert {"tempo_bpm", "tempo_confidence", "key", "key_confidence", "loudness_lufs"} <= set(clip)


def test_what_is_made_is_not_made_again(capsys: Capture, request: pytest.FixtureRequest) -> None:
    write_list(*THREE[:2])
    batch()
    before = files()
    write_list(*reversed(THREE))
    batch()
    assert "3 requests: 2 made, 1 to make" in capsys.readouterr().out
    assert before.items() < files().items() and len(records()) == 3
    request.getfixturevalue("no_model")
    batch()


def test_a_file_that_is_gone_or_damaged_is_made_again() -> None:
    write_list(*THREE)
    batch()
    before = files()
    gone, damaged, _ = (Path("out", name) for name in before)
    gone.unlink()
    damaged.write_bytes(b"short")
    batch()
    assert files() == before and len(records()) == 5


def test_several_files_of_a_request_are_labelled() -> None:
    write_list({"id": "a", "prompt": "rock", "variations": 2, "return_midi": True})
    batch()
    [record] = records()
    name = record["name"]
    assert set(files()) == {f"{name}-{label}" for label in ("01.mid", "01.wav", "02.mid", "02.wav")}
    assert [clip["midi"]["file"] for clip in record["clips"]] == [f"{name}-01.mid", f"{name}-02.mid"]
    assert len({clip["seed"] for clip in record["clips"]}) == 2


def test_parts_of_a_remix_are_named() -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    write_list({"input_audio": "riff.wav", "task": "remix", "return_stems": True})
    cli.main(["batch", "list.jsonl", "out", "--no-analysis", "--set=model_version=melody"])
    [record] = records()
    assert set(files()) == {f"{record['name']}{end}.wav" for end in ("", "-backing", "-vocals")}


def test_audio_comes_from_files_beside_the_list_and_from_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    Path("lists").mkdir()
    soundfile.write("lists/riff.wav", tone(0.5)[0], RATE)
    with file_server(Path("lists")) as address:
        write_list(
            {"id": "file", "input_audio": "riff.wav", "continuation": True, "seed": 1},
            {"id": "address", "input_audio": f"{address}/riff.wav", "continuation": True, "seed": 1},
            name="lists/list.jsonl",
        )
        cli.main(["batch", "lists/list.jsonl", "out", *SHORT])
    one, other = (soundfile.read(Path("out", name))[0] for name in files())
    assert (one == other).all()


def test_a_request_that_fails_is_listed_and_the_others_go_on(capsys: Capture) -> None:
    write_list(THREE[0], {"id": "bad", "input_audio": "http://127.0.0.1:9/a.wav", "continuation": True})
    message = refusal_of(capsys, batch)
    assert message.startswith("error: 1 of 2 requests have failed: the manifest in out says why, and --retry-failed")
    bad, good = sorted(records(), key=lambda record: record["id"])
    assert (good["status"], bad["status"], bad["line"]) == ("succeeded", "failed", 2)
    assert bad["error"].startswith("input_audio could not be fetched: ")
    assert len(files()) == 1


def test_what_failed_is_tried_again_when_asked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    write_list(*THREE)
    generate = text.generate

    def failing(job: Any) -> Any:
        if job.request.prompt == "jazz":
            raise MemoryError
        return generate(job)

    monkeypatch.setattr(text, "generate", failing)
    refusal_of(capsys, batch)
    assert len(files()) == 2
    monkeypatch.setattr(text, "generate", generate)
    message = refusal_of(capsys, batch)
    assert message.startswith("error: 1 of 3 requests have failed") and len(files()) == 2
    batch("--retry-failed")
    assert len(files()) == 3 and len(records()) == 4
    request.getfixturevalue("no_model")
    batch()


def test_notes_are_listed_and_requests_do_not_log(capsys: Capture) -> None:
    write_list({"prompt": "rock", "chroma_coefficient": 1.5})
    batch()
    assert "chroma_coefficient" in records()[0]["notes"][0]
    assert capsys.readouterr().err == "model 'small' is ready on cpu\n"


def test_a_limit_ends_a_run_early(capsys: Capture) -> None:
    write_list(*THREE)
    batch("--limit", "2")
    assert len(files()) == 2 and "made 2 of 2" in capsys.readouterr().out
    batch("--limit", "2")
    assert len(files()) == 3


def test_shards_make_the_whole_together() -> None:
    write_list(*THREE)
    batch()
    whole = files()
    for shard in ("1/2", "2/2"):
        cli.main(["batch", "list.jsonl", "parts", *SHORT, "--shard", shard])
    assert files("parts") == whole
    assert [len(records("parts", f"manifest-{number}-of-2.jsonl")) for number in (1, 2)] == [2, 1]


def test_a_dry_run_makes_nothing(capsys: Capture, request: pytest.FixtureRequest) -> None:
    write_list(*THREE)
    batch("--dry-run")
    head, estimate = capsys.readouterr().out.splitlines()
    assert head == "3 requests: 0 made, 3 to make, 3 s of audio"
    assert estimate.startswith("about 0:00:0") and not Path("out").exists()
    batch("--limit", "1")
    request.getfixturevalue("no_model")
    capsys.readouterr()
    batch("--dry-run")
    head, estimate = capsys.readouterr().out.splitlines()
    assert head == "3 requests: 1 made, 2 to make, 2 s of audio" and estimate.startswith("about 0:00:0")


@pytest.mark.usefixtures("no_model")
def test_every_problem_is_reported_before_anything_is_made(capsys: Capture) -> None:
    Path("list.jsonl").write_text('{"prompt": "a", "top_k": -1}\n{"prompt": "b"}\nrock\n{"promt": "c"}\n')
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        batch()
    assert ended.value.code == 2 and not Path("out").exists()
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "line 1",
        "line 3",
        "line 4",
        "line 4",
        "error",
    ]


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jsonl", "out"], "error: There is no file gone.jsonl."),
        (["list.json", "out"], "error: The name of a list must end in .jsonl, .csv, .txt, unlike 'list.json'."),
        (["empty.txt", "out"], "error: There is no request in empty.txt."),
        (["list.jsonl", "out", "--shard", "3/2"], "error: --shard must be a part and the number of parts, such as 2/8"),
        (["list.jsonl", "out", "--limit", "0"], "error: --limit must be a whole number from 1 to 1000000, not '0'."),
        (["list.jsonl", "out", "--set", "promt=a"], "error: There is no input 'promt' (did you mean 'prompt'?)"),
        (["list.jsonl", "out", "--set", "duration"], "error: --set duration is not of the form name=value"),
        (["~gone.jsonl", "out"], "error: There is no file ~gone.jsonl."),
        (["list.jsonl", "out", "--server=http://a", "--key=@latin"], "error: --key: latin is not text in UTF-8."),
        (["list.jsonl", "out", "--key", "a"], "error: --key is for a server: give its address with --server."),
        (["list.jsonl", "out", "--server", "localhost"], "error: --server must be an address such as http://localhost"),
    ],
)  # fmt: skip
def test_an_impossible_batch_is_refused(arguments: list[str], message: str, capsys: Capture) -> None:
    write_list({"prompt": "a"})
    write_list({"prompt": "a"}, name="list.json")
    Path("empty.txt").write_text("\n")
    Path("latin").write_bytes(b"\xff")
    assert refusal(capsys, "batch", *arguments).startswith(message)


@pytest.mark.usefixtures("no_model")
def test_clips_do_not_go_into_a_file(capsys: Capture) -> None:
    write_list(*THREE)
    Path("out").touch()
    with pytest.raises(SystemExit) as ended:
        batch()
    assert (ended.value.code, capsys.readouterr().err) == (2, "error: out is a file, not a folder.\n")


@pytest.mark.usefixtures("no_model")
def test_a_folder_has_one_process_for_each_shard(capsys: Capture) -> None:
    write_list(*THREE)
    Path("out").mkdir()
    other = Manifest(Path("out"), Shard())
    message = refusal_of(capsys, batch)
    other.close()
    assert message.startswith("error: Another process is making the batch in out.")


def test_a_full_disk_ends_the_batch_and_nothing_is_half_there(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(*THREE)
    append = Manifest.append

    def full(manifest: Manifest, record: Any) -> None:
        if record["id"] == "jazz":
            raise OSError(28, "No space left on device", "out")
        append(manifest, record)

    monkeypatch.setattr(Manifest, "append", full)
    assert refusal_of(capsys, batch).startswith("error: out: No space left on device. ")
    assert not [name for name in files() if "unfinished" in name]
    monkeypatch.setattr(Manifest, "append", append)
    batch()
    assert sorted(record["id"] for record in records()) == ["jazz", "rock", "x"]


def test_the_manifest_makes_any_clip_again(capsys: Capture) -> None:
    soundfile.write("riff.wav", tone(0.5)[0], RATE)
    write_list(
        {"id": "a", "prompt": "rock", "variations": 2}, {"id": "b", "input_audio": "riff.wav", "continuation": True}
    )
    batch()
    for record in records():
        for clip in record["clips"]:
            file = Path("out", clip["file"])
            content = file.read_bytes()
            file.unlink()
            capsys.readouterr()
            cli.main(["recipe", "out/manifest.jsonl", clip["file"]])
            words = shlex.split(capsys.readouterr().out)
            cli.main(words[words.index("predict") :])
            assert Path(words[-1]).read_bytes() == content
    cli.main(["recipe", "out/manifest.jsonl", "b"])
    message = refusal(capsys, "recipe", "out/manifest.jsonl", "a", status=1)
    assert message.startswith("error: out/manifest.jsonl has 2 clips of 'a': name one of a-")
    message = refusal(capsys, "recipe", "out/manifest.jsonl", "c", status=1)
    assert message == "error: out/manifest.jsonl has no clip 'c': name its file, or the id of its line."


def test_the_manifest_makes_a_clip_of_an_address_again(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    Path("songs").mkdir()
    soundfile.write("songs/riff.wav", tone(0.5)[0], RATE)
    with file_server(Path("songs")) as address:
        write_list({"id": "a", "input_audio": f"{address}/riff.wav?x=1&y=2", "continuation": True})
        batch()
        capsys.readouterr()
        cli.main(["recipe", "out/manifest.jsonl", "a"])
        words = shlex.split(capsys.readouterr().out)
        assert f"input_audio={address}/riff.wav?x=1&y=2" in words
        cli.main(words[words.index("predict") :])
    assert Path(words[-1]).read_bytes() in files().values()


def refusal_of(capsys: Capture, run: Any) -> str:
    """The error message of a command that prints and then fails."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run()
    assert isinstance(ended.value.code, str)  # which Python prints as it ends, with status 1
    return ended.value.code
