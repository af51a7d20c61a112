"""CONTRIBUTING.md is accurate: three changes are made to a copy of the project, each in the files of its row."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

PROJECT = Path(__file__).resolve().parents[1]
TEXT = (PROJECT / "CONTRIBUTING.md").read_text()
RATE = 32_000


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, row by row."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def paths(cell: str) -> list[str]:
    """The files and folders that a cell names."""
    return [
        name for name in re.findall(r"`([^`]+)`", cell) if "/" in name or re.search(r"\.(py|toml|yml|yaml|md)$", name)
    ]


CHANGES = {what: paths(files) for what, files, _ in rows("To change X, touch these files")}


@pytest.mark.parametrize("heading", ["Where things are", "To change X, touch these files", "Where to find it"])
def test_named_paths_exist(heading: str) -> None:
    named = [path for cells in rows(heading) for cell in cells for path in paths(cell)]
    # For a file that a change adds, the folder must exist.
    missing = [path for path in named if not (PROJECT / re.sub(r"[^/]*NAME.*", "", path)).exists()]
    assert named and not missing


def test_every_change_names_its_files() -> None:
    assert [what for what, files in CHANGES.items() if not files] == []


@pytest.mark.parametrize(("what", "where"), rows("Where to find it"))
def test_names_are_defined_where_the_table_says(what: str, where: str) -> None:
    for path, name in re.findall(r"`([\w/.]+\.py)`, `(\w+)`", where):
        assert re.search(
            rf"^(def {name}\(|class {name}\b|{name}\b.* = )", (PROJECT / path).read_text(), re.MULTILINE
        ), (path, name)


class Copy:
    """A copy of the project for a change.

    Parameters
    ----------
    folder : destination of the copy
    """

    COPIED = ("compat", "deploy", "docs", "musicgen_service", "tests")
    LINKED = ("weights", "demo", "bench", "README.md", "CONTRIBUTING.md")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: set[str] = set()
        for name in self.COPIED:
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (*PROJECT.glob("*.py"), *PROJECT.glob("*.t*ml"), *PROJECT.glob("requirements*")):
            shutil.copy(path, folder)
        for name in self.LINKED:
            (folder / name).symlink_to(PROJECT / name)

    def replace(self, path: str, *changes: tuple[str, str]) -> None:
        """Replace texts, each of which must occur in the file once."""
        text = (self.folder / path).read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{path}: {old!r}"
            text = text.replace(old, new)
        self.write(path, text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)
        self.changed.add(path)

    def run(self, *arguments: str) -> str:
        """Run `python -m ARGUMENTS` in the copy, which must succeed; returns its output."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"MUSICGEN_MODELS": "demo", "OMP_NUM_THREADS": "1"}
        environment.pop("MUSICGEN_WEIGHTS", None)
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def predict(self, *arguments: str) -> np.ndarray:
        """Run `predict ... -o FILE`; returns the samples [samples, channels] of the file."""
        self.run("musicgen_service", "predict", "rock", *arguments)
        samples, rate = soundfile.read(self.folder / arguments[arguments.index("-o") + 1], always_2d=True)
        assert rate == RATE
        return np.asarray(samples)

    def passes(self, *tests: str) -> None:
        """Run tests of the project in the copy; they must pass."""
        self.run("pytest", "-p", "no:cacheprovider", "-n", "0", *tests)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "project")


INPUTS_AGREE = (
    "tests/test_predict.py",
    "tests/test_docs.py::test_every_input_is_documented_with_its_default",
    "tests/test_api.py::test_every_input_is_a_typed_keyword",
)


@pytest.mark.slow
def test_an_output_format_is_added(copy: Copy) -> None:
    copy.replace("musicgen_service/audio/encoding.py", ('"flac", "ogg")', '"flac", "ogg", "aiff")'))
    copy.replace(
        "predict.py", ('choices=["wav", "mp3", "flac", "ogg"]', 'choices=["wav", "mp3", "flac", "ogg", "aiff"]')
    )
    copy.replace("docs/inputs.md", ("`wav`, `mp3`, `flac`, `ogg` |", "`wav`, `mp3`, `flac`, `ogg`, `aiff` |"))
    assert copy.changed == set(CHANGES["an output format"])
    assert copy.predict("--duration", "1", "-o", "clip.aiff").shape == (RATE, 1)
    assert soundfile.info(copy.folder / "clip.aiff").format == "AIFF"
    assert "predict" in copy.run("musicgen_service", "recipe", "clip.aiff")
    copy.passes(*INPUTS_AGREE)


@pytest.mark.slow
def test_an_input_is_added(copy: Copy) -> None:
    described = "How many dB quieter a clip is."
    copy.replace(
        "musicgen_service/requests/fields.py",
        ('    "seed": Field(', '    "quieter": Field(float, 0.0, 0, 60),\n    "seed": Field('),
    )
    copy.replace("musicgen_service/requests/request.py", ("    seed: int\n", "    quieter: float\n    seed: int\n"))
    declared = f'quieter: float = Input(description="{described}", default=0, ge=0, le=60),\n        seed:'
    copy.replace("predict.py", ("seed: Optional[int]", f"{declared} Optional[int]"))
    copy.replace(
        "musicgen_service/api.py", ("    seed: int | None\n", "    quieter: float | None\n    seed: int | None\n")
    )
    copy.replace("docs/inputs.md", ("| `seed` |", f"| `quieter` | 0 | 0 to 60 | {described} |\n| `seed` |"))
    copy.replace(
        "musicgen_service/paths/job.py",
        (
            "samples=loudness.normalise(clip.samples, self.model.sample_rate, strategy))",
            "samples=loudness.normalise(clip.samples, self.model.sample_rate, strategy)"
            " * 10 ** (-self.request.quieter / 20))",
        ),
    )
    assert copy.changed == set(CHANGES["an input"])
    same = ("--duration", "1", "--seed", "1")
    loud, quiet = copy.predict(*same, "-o", "a.wav"), copy.predict(*same, "--quieter", "20", "-o", "b.wav")
    np.testing.assert_allclose(quiet, loud / 10, atol=1 / 32768)
    assert described in copy.run("musicgen_service", "predict", "--help")
    copy.passes(*INPUTS_AGREE)


@pytest.mark.slow
def test_a_drop_in_is_added(copy: Copy) -> None:
    """A copy of `musicgen_custom` with a default duration of one second."""

    def copied(path: str, *changes: tuple[str, str]) -> None:
        copy.write(path.replace("musicgen_custom", "short"), (PROJECT / path).read_text())
        copy.replace(path.replace("musicgen_custom", "short"), *changes)

    name = 'hosted_as = "multitrickfox/musicgen_custom"'
    copied("compat/musicgen_custom.py", ("default=8,", "default=1,"), (name, 'hosted_as = "somebody/short"'))
    copied("tests/data/systems/musicgen_custom.txt", ("\n8\n|", "\n1\n|"), ('"default": 8,', '"default": 1,'))
    copied("tests/data/requests/musicgen_custom.json")
    cells = "`prompt`, `input_audio`, `continuation_end`, `seed` | nullable | absent | True |"
    original_row = f"| `musicgen_custom` | {cells}"
    copy.replace("compat/README.md", (original_row, f"{original_row}\n| `short` | {cells}"))
    assert copy.changed == {path.replace("NAME", "short") for path in CHANGES["a drop-in"]}
    copy.run("deploy.cog_yaml")
    assert (copy.folder / "compat/short/cog.yaml").read_text().endswith('run: "compat/short.py:Predictor"\n')
    assert copy.predict("--as", "short", "-o", "clip.wav").shape == (RATE, 1)
    copy.passes("tests/compat/test_cog_yaml.py", "tests/compat/test_schema.py")
