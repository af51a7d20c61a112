"""The commands `adapters` and `train`, as far as they refuse; trainings are in tests/training."""

import json
import zipfile
from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.audio import recipe
from musicgen_service.models.adapters import CARD_FILE, AdapterStore
from musicgen_service.models.store import WeightStore
from tests.support import adapters as random_adapters

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def adapters(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AdapterStore:
    """A weights folder with the adapter `mystyle` of small, and a shell beside it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)
    store = WeightStore(folder)
    random_adapters.add(store, "mystyle", random_adapters.random_lora(store, "small"))
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(folder))
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    return AdapterStore.of(store)


def test_adapters_are_listed_and_shown(adapters: AdapterStore, capsys: Capture) -> None:
    cli.main(["adapters", "list"])
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["mystyle", "small", "4"]
    cli.main(["adapters", "list", "--json"])
    [entry] = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["base"], entry["sha256"]) == ("mystyle", "small", adapters.get("mystyle").sha256)
    cli.main(["adapters", "show", "mystyle"])
    assert entry["sha256"] in capsys.readouterr().out


def test_a_card_that_is_no_utf_8_is_shown(adapters: AdapterStore, capsys: Capture) -> None:
    (adapters.get("mystyle").folder / CARD_FILE).write_bytes(b"# caf\xe9")
    cli.main(["adapters", "show", "mystyle"])
    assert "# caf\ufffd" in capsys.readouterr().out


def test_an_adapter_goes_out_and_comes_in_again(adapters: AdapterStore, tmp_path: Path) -> None:
    before = adapters.get("mystyle").sha256
    cli.main(["adapters", "export", "mystyle"])
    with zipfile.ZipFile(tmp_path / "mystyle.zip") as archive:
        assert sorted(archive.namelist()) == ["mystyle/adapter_config.json", "mystyle/adapter_model.safetensors"]
    cli.main(["adapters", "remove", "mystyle"])
    assert adapters.names() == []
    cli.main(["adapters", "import", "mystyle.zip", "--name", "theirs"])
    assert adapters.get("theirs").sha256 == before


def test_clips_made_with_an_adapter_name_it_and_can_be_made_again(
    adapters: AdapterStore, tmp_path: Path, capsys: Capture
) -> None:
    words = ["predict", "jazz", "--duration", "1", "--seed", "3"]
    cli.main([*words, "-i", "adapter=mystyle:0.5", "-o", "one.wav"])
    cli.main([*words, "--model-version", "small", "-o", "plain.wav"])
    made = recipe.read(tmp_path / "one.wav")
    assert (made["adapter"], made["model_version"]) == ("mystyle:0.5", "small")
    assert made["adapters_sha256"] == {"mystyle": adapters.get("mystyle").sha256}
    assert "adapter" not in recipe.read(tmp_path / "plain.wav")
    capsys.readouterr()
    cli.main(["recipe", "one.wav"])
    assert "adapter=mystyle:0.5" in capsys.readouterr().out
    assert (tmp_path / "one.wav").read_bytes() != (tmp_path / "plain.wav").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["adapters", "show", "mistyle"], "There is no adapter 'mistyle' (did you mean 'mystyle'?)"),
        (["adapters", "import", "mystyle.txt"], "mystyle.txt is no whole zip"),
        (["predict", "jazz", "-i", "adapter=mistyle"], "There is no adapter 'mistyle' (did you mean 'mystyle'?)"),
        (["train", "songs", "--name", "mystyle", "--base", "small"], "There is an adapter 'mystyle' already"),
        (["train", "songs", "--name", "a/b", "--base", "small"], "An adapter's name has 1 to 64 letters"),
        (["train", "songs", "--name", "x", "--base", "smal"], "--base must be one of small, "),
        (["train", "songs", "--name", "x", "--base", "large"], "'large' is not in the weights folder"),
        (
            ["train", "songs", "--name", "x", "--base", "small", "--rank", "0"],
            "--rank must be a whole number from",
        ),
        (["train", "songs", "--name", "x", "--base", "small", "--rate", "nan"], "--rate must be a number from"),
        (["train", "songs", "--name", "x", "--base", "small", "--targets", "all"], "--targets must be some of q_proj"),
        (
            ["train", "songs", "--name", "x", "--base", "small", "--trigger", "\udce9"],
            "--trigger must be text in UTF-8",
        ),
        (["train", "nowhere", "--name", "x", "--base", "small"], "There is no folder or file nowhere"),
    ],
)
def test_refusals_are_sentences(
    adapters: AdapterStore, tmp_path: Path, words: list[str], sentence: str, capsys: Capture
) -> None:
    (tmp_path / "mystyle.txt").write_text("no zip")
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    code, error = ended.value.code, capsys.readouterr().err
    message = code if isinstance(code, str) else error
    assert message.startswith(f"error: {sentence}") and len(message.splitlines()) == 1
