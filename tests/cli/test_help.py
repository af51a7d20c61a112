"""Help texts, start-up time, and errors for unknown words."""

import json
import re
import subprocess
import sys

import pytest

from musicgen_service import __version__, cli, predictors
from musicgen_service.cli.main import COMMANDS
from musicgen_service.serving import schema
from tests.support.shell import environment, refusal

Capture = pytest.CaptureFixture[str]
SYSTEMS = [None, *predictors.names()]


def help_of(capsys: Capture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("system", SYSTEMS)
def test_help_lists_every_input_as_in_the_schema(
    system: str | None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, "predict", *(["--as", system] if system else []))
    assert max(map(len, text.splitlines())) <= 80
    schemas = schema.build(predictors.predictor(system))["components"]["schemas"]
    # Each option with its description, on one line.
    entries = dict(re.findall(r"\n  --(\w+)\s+(.*?)(?=\n  -|\n\n|\Z)", text, re.DOTALL))
    entries = {name: " ".join(entry.split()) for name, entry in entries.items()}
    assert [name for name in entries if name in schemas["Input"]["properties"]] == list(schemas["Input"]["properties"])
    for name, entry in schemas["Input"]["properties"].items():
        # A line is also broken after a hyphen.
        shown = entries[name].replace("- ", "-")
        assert " ".join(entry["description"].split()).replace("- ", "-") in shown
        kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
        kind = kinds[entry.get("type", "string")]
        kind = "a file" if entry.get("format") == "uri" else kind
        choices = schemas[name]["enum"] if name in schemas else None
        assert f"[one of {', '.join(map(str, choices))};" in shown if choices else f"[{kind}" in shown
        for bound in ("minimum", "maximum"):
            if bound in entry:
                assert re.search(rf"\D{entry[bound]}\b", shown.rpartition("[")[2])
        default = entry.get("default")
        default = str(default).lower() if isinstance(default, bool) else default
        default = f"{default:g}" if isinstance(default, float) else default
        assert shown.endswith("; no default]" if default is None else f"; default {default}]"), shown


@pytest.mark.parametrize(
    "command",
    [
        "",
        *COMMANDS,
        "weights list",
        "weights fetch",
        "weights verify",
        "weights path",
        "keys add",
        "keys list",
        "keys remove",
    ],
)
def test_help_fits_a_terminal(command: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, *command.split())
    assert text.startswith("usage: python -m musicgen_service") and max(map(len, text.splitlines())) <= 80


def test_version_is_printed(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"musicgen-service {__version__}\n")


SLOW = ("torch", "transformers", "librosa", "audiocraft", "scipy.signal")


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("--version", ("numpy", "cog")),
        ("--help", ("numpy", "cog")),
        ("weights list", ("cog",)),
        ("predict --help", ()),
        ("predict --as m3maker --help", ()),
        ("serve --help", ("cog",)),
        ("batch --help", ()),
        ("batch missing.txt out", ()),
        ("export missing --hf", ("cog",)),
        ("completion bash", ("numpy", "cog")),
        ("keys list", ("cog",)),
        ("recipe missing.wav", ("cog",)),
        ("predict a -o clip.txt", ()),
    ],
)
def test_commands_without_a_model_import_no_slow_library(command: str, others: tuple[str, ...]) -> None:
    code = (
        "import sys, json\nfrom musicgen_service import cli\ntry:\n cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, env=environment()
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "musicgen_service.cli.main" in loaded
    assert not {*SLOW, *others} & set(loaded)


@pytest.mark.parametrize("arguments", [[], ["weights"]])
def test_without_a_command_help_is_shown(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == "" and captured.err.startswith("usage: ")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("predit", "error: There is no command 'predit' (did you mean 'predict'?): use one of predict, serve,"),
        ("weights lst", "error: There is no command 'lst' (did you mean 'list'?): use one of list, fetch,"),
        ("--versoin", "error: There is no option '--versoin' (did you mean '--version'?)"),
        ("weights verify smal", "error: There is no 'smal' (did you mean 'small'?): use some of small, medium,"),
        ("weights fetch", "error: The following arguments are required: NAME: see `python -m"),
        ("completion bsh", "error: SHELL must be one of bash, zsh, fish, not 'bsh' (did you mean 'bash'?)."),
        ("serve --port eighty", "error: --port must be a whole number from 0 to 65535, not 'eighty'."),
        ("serve --port 65536", "error: --port must be a whole number from 0 to 65535, not '65536'."),
        ("serve --as loper", "error: --as must be one of m3maker,"),
    ],
)  # fmt: skip
def test_unknown_word_is_reported_in_one_sentence(command: str, sentence: str, capsys: Capture) -> None:
    assert refusal(capsys, *command.split()).startswith(sentence)


def test_unknown_checkpoint_is_reported_in_one_sentence(capsys: Capture) -> None:
    message = refusal(capsys, "weights", "fetch", "stereo-melodi", status=1)
    assert message.startswith(
        "error: 'stereo-melodi' is not a known checkpoint (did you mean 'stereo-melody'?): use one of"
    )
