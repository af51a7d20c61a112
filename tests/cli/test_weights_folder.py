"""The command `weights`: fetching into a folder, listing and verifying."""

from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS
from musicgen_service.models.fetching import fetch
from musicgen_service.models.store import WeightStore
from tests.support.hub import Hub


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightStore:
    """An empty weights folder, which `MUSICGEN_WEIGHTS` names."""
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path / "weights"))
    return WeightStore.from_environment()


def test_path_is_where_musicgen_weights_points(store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["weights", "path"])
    assert capsys.readouterr().out == f"{store.root}\n"


def test_path_is_weights_beside_the_package_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICGEN_WEIGHTS")
    assert WeightStore.from_environment().root == Path(cli.__file__).parents[2] / "weights"


def test_list_shows_what_is_present(released: Hub, store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    list(fetch(store, "encodec_32khz"))
    cli.main(["weights", "list"])
    weights, _packages = capsys.readouterr().out.split("\n\n")
    lines = {line.split()[0]: line for line in weights.splitlines()}
    assert list(lines) == ["NAME", *CHECKPOINTS, *COMPONENTS]
    assert "stereo" in lines["stereo-melody-large"]
    assert "CC-BY-NC 4.0" in lines["small"]
    assert lines["encodec_32khz"].split()[1] == "yes"
    assert lines["small"].split()[1] == "-"


def test_fetch_then_verify(released: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["weights", "fetch", "small"])
    cli.main(["weights", "verify"])
    out = capsys.readouterr().out
    assert "small: fetching 2 MB from facebook/musicgen-small (CC-BY-NC 4.0)" in out
    assert out.endswith("checksums agree: small, t5-base, encodec_32khz, multi-band-diffusion\n")


def test_verify_fails_on_a_flipped_byte(released: Hub, store: WeightStore) -> None:
    cli.main(["weights", "fetch", "encodec_32khz"])
    (store.path("encodec_32khz") / "config.json").write_bytes(b"[]\n")
    with pytest.raises(SystemExit, match=r"error: encodec_32khz/config\.json: checksum differs"):
        cli.main(["weights", "verify"])


def test_unknown_name_is_reported_in_one_line() -> None:
    with pytest.raises(SystemExit, match="error: 'tiny' is not a known checkpoint"):
        cli.main(["weights", "fetch", "tiny"])
