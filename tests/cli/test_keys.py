"""The command `keys`."""

import subprocess
from pathlib import Path

import pytest

from musicgen_service import cli
from musicgen_service.serving.api_keys import ApiKeys
from tests.support.shell import COMMAND, environment, refusal

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUSICGEN_API_KEYS_FILE", str(tmp_path / "keys"))
    return tmp_path / "keys"


def test_a_key_is_printed_once_and_valid_until_it_is_removed(file: Path, capsys: Capture) -> None:
    cli.main(["keys", "add", "ann"])
    key = capsys.readouterr().out.removesuffix("\n")
    assert ApiKeys(file).name_of(key) == "ann" and key not in file.read_text()
    cli.main(["keys", "add", "ben"])
    capsys.readouterr()
    cli.main(["keys", "list"])
    assert capsys.readouterr().out == "ann\nben\n"
    cli.main(["keys", "remove", "ann"])
    assert ApiKeys(file).name_of(key) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["add", "a b"], "error: A name may have up to 64 letters, digits, '.', '_' and '-'"),
        (["remove", "ben"], "error: There is no key of 'ben' in "),
        (["list"], "error: The file of API keys "),
    ],
)
def test_problems_are_told_in_a_sentence(words: list[str], sentence: str, file: Path, capsys: Capture) -> None:
    message = refusal(capsys, "keys", *words, status=1)
    assert message.startswith(sentence) and message.endswith(".")
    assert not file.exists() or words[0] == "remove"


def test_the_file_is_a_setting(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("MUSICGEN_API_KEYS_FILE", raising=False)
    for words in (["add", "ann"], ["list"], ["remove", "ann"]):
        assert refusal(capsys, "keys", *words, status=1).startswith("error: MUSICGEN_API_KEYS_FILE must name the file")


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_a_server_with_a_file_that_it_cannot_use_does_not_start(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    if kind == "damaged":
        file.write_text("ann 12\n")
    settings = {"MUSICGEN_API_KEYS_FILE": str(file), "MUSICGEN_MODELS": "demo", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0"], env=environment() | settings, capture_output=True, text=True, timeout=60
    )
    problem = "cannot be read: No such file or directory." if kind == "missing" else "is damaged: line 1 is not a name"
    assert done.returncode == 1 and done.stderr.startswith(f"error: The file of API keys {file} {problem}")
    assert done.stderr.count("\n") == 1
