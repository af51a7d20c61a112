"""Batches as data sets."""

import json
import shutil
from pathlib import Path
from typing import Any

import mido
import pytest
import soundfile
import webdataset

from musicgen_service import cli
from musicgen_service.batch import export
from tests.support.batches import batch, records, write_list
from tests.support.command import Capture
from tests.support.shell import refusal

pytestmark = pytest.mark.usefixtures("shell")


@pytest.fixture(scope="module")
def original(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch of three clips, one of them with a MIDI file."""
    folder = tmp_path_factory.mktemp("batch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(weights))
        patch.syspath_prepend(str(Path.cwd()))
        patch.chdir(folder)
        write_list(
            {"id": "a.1", "prompt": "rock", "return_midi": True},
            {"id": "b", "prompt": "jazz", "variations": 2, "output_format": "mp3"},
        )
        batch()
    return folder / "out"


@pytest.fixture
def made(shell: None, original: Path) -> None:
    """That folder as `out`."""
    shutil.copytree(original, "out")


@pytest.mark.usefixtures("made")
def test_webdataset_reads_the_tar_files(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_SHARD_BYTES", 100_000)  # one clip and a half
    cli.main(["export", "out", "--webdataset"])
    assert "out-webdataset  3 clips" in capsys.readouterr().out
    tars = sorted(map(str, Path("out-webdataset").iterdir()))
    assert [Path(tar).name for tar in tars] == ["clips-000000.tar", "clips-000001.tar"]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    clips = {clip["file"]: clip for record in records() for clip in record["clips"]}
    assert len(samples) == len(clips) == 3
    for sample in samples:
        described = json.loads(sample["json"])
        clip = clips[described["file"]]
        assert sample["__key__"] == clip["file"].rpartition(".")[0].replace(".", "+")
        assert sample[clip["file"].rpartition(".")[2]] == Path("out", clip["file"]).read_bytes()
        assert sample["txt"].decode() == described["recipe"]["prompt"]
        assert ("mid" in sample) == (described["id"] == "a.1")
    [notes] = [sample["mid"] for sample in samples if "mid" in sample]
    Path("notes.mid").write_bytes(notes)
    assert mido.MidiFile("notes.mid").tracks


@pytest.mark.usefixtures("made")
def test_a_clip_that_was_made_anew_is_described_by_its_last_record() -> None:
    record = next(record for record in records() if record["id"] == "a.1")
    [clip] = record["clips"]
    file = Path("out", clip["file"])
    file.write_bytes(file.read_bytes() + bytes(4))
    anew = record | {"clips": [clip | {"bytes": file.stat().st_size, "loudness_lufs": -15.0}]}
    # One part of two, whose manifest is read before that of the whole.
    Path("out", "manifest-1-of-2.jsonl").write_text(json.dumps(anew) + "\n")
    found = {clip["file"]: clip["loudness_lufs"] for clip in export.clips(Path("out"))}
    assert len(found) == 3 and found[clip["file"]] == -15.0


def test_samples_of_similar_names_are_told_apart() -> None:
    Path("out").mkdir()
    for name in ("a.1", "a_1"):
        Path("out", f"{name}.wav").touch()
        described = {"file": f"{name}.wav", "bytes": 0, "seconds": 0, "recipe": {}}
        made: dict[str, Any] = {"id": name, "name": name, "status": "succeeded", "inputs": {}, "clips": [described]}
        with Path("out", "manifest.jsonl").open("a") as file:
            file.write(json.dumps(made | {"timings": {"seconds": 1, "at_once": 1}}) + "\n")
    export.write_webdataset(Path("out"), Path("data"))
    samples = webdataset.WebDataset(["data/clips-000000.tar"], shardshuffle=False)
    assert [sample["__key__"] for sample in samples] == ["a+1", "a_1"]


@pytest.mark.usefixtures("made")
def test_the_same_clips_give_the_same_tar_files() -> None:
    for target in ("one", "two"):
        cli.main(["export", "out", "--webdataset", "-o", target])
    assert Path("one/clips-000000.tar").read_bytes() == Path("two/clips-000000.tar").read_bytes()


@pytest.mark.usefixtures("made")
def test_an_audio_folder_has_a_row_for_each_clip() -> None:
    cli.main(["export", "out", "--hf", "-o", "data"])
    rows = [json.loads(line) for line in Path("data/metadata.jsonl").read_text().splitlines()]
    assert {row["file_name"] for row in rows} == {path.name for path in Path("data").iterdir()} - {"metadata.jsonl"}
    assert len({tuple(row) for row in rows}) == 1  # the same columns
    for row in rows:
        assert soundfile.info(Path("data", row["file_name"])).duration == pytest.approx(row["seconds"])
        recipe: dict[str, Any] = json.loads(row["recipe"])
        assert (row["prompt"], row["seed"], row["model"]) == (recipe["prompt"], recipe["seed"], "small")


@pytest.mark.usefixtures("made")
def test_a_missing_clip_ends_the_export_and_leaves_nothing(capsys: Capture) -> None:
    Path("out", records()[0]["clips"][0]["file"]).unlink()
    before = set(Path().iterdir())
    message = refusal(capsys, "export", "out", "--hf", status=1)
    assert "is not as it was made: run the batch again" in message
    assert set(Path().iterdir()) == before


@pytest.mark.usefixtures("made")
def test_a_full_disk_leaves_nothing(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("musicgen_service.batch.export._link_or_copy", full)
    before = set(Path().iterdir())
    assert refusal(capsys, "export", "out", "--hf", status=1) == "error: No space left on device."
    assert set(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "--hf"], "error: There is no folder gone."),
        ([".", "--hf", "-o", "taken"], "error: taken exists already: choose another name with -o."),
        (["taken"], "error: One of the arguments --webdataset --hf is required: see `"),
    ],
)
def test_an_impossible_export_is_refused(arguments: list[str], message: str, capsys: Capture) -> None:
    Path("taken").mkdir()
    assert refusal(capsys, "export", *arguments).startswith(message)


def test_a_folder_without_clips_is_refused(capsys: Capture) -> None:
    assert refusal(capsys, "export", ".", "--hf", status=1) == "error: There are no clips in .: `batch` makes them."
