"""The environment variables: allowed values, errors, and that no other module reads them."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import cli, settings
from musicgen_service.engine.precision import Precision
from musicgen_service.serving.cog_runner import ServiceRunner
from musicgen_service.settings import Settings, SettingsError, load


def test_an_empty_environment_has_the_defaults() -> None:
    assert load({}) == Settings()
    assert load({"MUSICGEN_MODELS": "", "MUSICGEN_DRAIN_SECONDS": " ", "PORT": ""}) == Settings()
    assert Settings().weights == Path("weights").resolve()


SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def test_every_value_is_read(tmp_path: Path) -> None:
    environment = {
        "MUSICGEN_WEIGHTS": str(tmp_path),
        "MUSICGEN_MODELS": "small, stereo-melody",
        "MUSICGEN_MEMORY_GB": "1.5",
        "MUSICGEN_SLOTS": "3",
        "MUSICGEN_PRECISION": "bf16",
        "MUSICGEN_ENGINE": "reference",
        "MUSICGEN_CUDA_GRAPH": "0",
        "MUSICGEN_SEPARATOR": "spleeter",
        "MUSICGEN_MAX_INPUT_MB": "20",
        "MUSICGEN_MAX_SONGS_MB": "30",
        "MUSICGEN_MAX_UPLOADS_MB": "40",
        "MUSICGEN_ALLOW_PRIVATE_URLS": "1",
        "MUSICGEN_QUEUE": "7",
        "MUSICGEN_CONNECTIONS_PER_ADDRESS": "8",
        "MUSICGEN_API_KEYS_FILE": str(tmp_path / "keys"),
        "MUSICGEN_HOSTS": "Music.example.com, musicgen, [fd00::1]",
        "MUSICGEN_CORS_ORIGINS": "https://app.example.com:8443",
        "MUSICGEN_REQUESTS_PER_MINUTE": "9",
        "MUSICGEN_MAX_AUDIO_SECONDS": "10",
        "MUSICGEN_AUDIO_SECONDS_PER_MINUTE": "11",
        "MUSICGEN_PREDICTION_SECONDS": "12",
        "MUSICGEN_MAX_BODY_MB": "13",
        "MUSICGEN_HEAD_SECONDS": "14",
        "MUSICGEN_BODY_SECONDS": "15",
        "MUSICGEN_RESULTS": str(tmp_path),
        "MUSICGEN_KEEP_SECONDS": "60",
        "MUSICGEN_TRAININGS": "0",
        "MUSICGEN_MODEL_NAMES": "acme/music=meta/musicgen, b05b1dff = multitrickfox/musicgen_custom",
        "MUSICGEN_PUBLIC_URL": "https://music.test/below/",
        "MUSICGEN_WEBHOOK_SECRET": SECRET,
        "MUSICGEN_DRAIN_SECONDS": "0",
        "MUSICGEN_METRICS": "open",
        "MUSICGEN_WORKER_SOCKET": "/run/worker.sock",
        "MUSICGEN_AUDIO_SOCKET": "/run/audio.sock",
        "MUSICGEN_SERVED_FILES": "/run/files",
        "MUSICGEN_ACCESS_LOG": "0",
        "PORT": "5702",
    }
    models, sockets = ("small", "stereo-melody"), (Path("/run/worker.sock"), Path("/run/audio.sock"))
    hosts, origins = ("music.example.com", "musicgen", "[fd00::1]"), ("https://app.example.com:8443",)
    names = {"acme/music": "meta/musicgen", "b05b1dff": "multitrickfox/musicgen_custom"}
    expected: tuple[Any, ...] = (
        *(tmp_path, models, 1.5, 3, "bf16", "reference", False, "spleeter", 20, 30, 40, True, 7, 8),
        *(tmp_path / "keys", hosts, origins, 9, 10, 11, 12, 13, 14, 15),
        *(
            tmp_path,
            60,
            False,
            names,
            "https://music.test/below",
            SECRET,
            0,
            "open",
            *sockets,
            Path("/run/files"),
            False,
            5702,
        ),
    )
    assert load(environment) == Settings(*expected)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MUSICGEN_DRAIN_SECONDS", "2m", "a number from 0 to 86,400"),
        ("MUSICGEN_DRAIN_SECONDS", "-1", "a number from 0 to 86,400"),
        ("MUSICGEN_DRAIN_SECONDS", "nan", "a number from 0 to 86,400"),
        ("MUSICGEN_SLOTS", "0", "a whole number from 1 to 64"),
        ("MUSICGEN_SLOTS", "2.5", "a whole number from 1 to 64"),
        ("MUSICGEN_PRECISION", "fp8", "one of exact, bf16, int8, half, auto"),
        ("MUSICGEN_ENGINE", "fast", "one of own, reference"),
        ("MUSICGEN_CUDA_GRAPH", "off", "1 or 0"),
        ("MUSICGEN_SEPARATOR", "demucs", "one of auto, htdemucs, spleeter"),
        ("MUSICGEN_ALLOW_PRIVATE_URLS", "yes", "1 or 0"),
        ("MUSICGEN_MAX_INPUT_MB", "abc", "a number from 1 to 10,000"),
        ("MUSICGEN_MAX_INPUT_MB", "0.5", "a number from 1 to 10,000"),
        ("MUSICGEN_MEMORY_GB", "lots", "a number of gigabytes above 0"),
        ("MUSICGEN_MEMORY_GB", "0", "a number of gigabytes above 0"),
        ("MUSICGEN_MEMORY_GB", "nan", "a number of gigabytes above 0"),
        ("MUSICGEN_MEMORY_GB", "inf", "a number of gigabytes above 0"),
        ("MUSICGEN_MODELS", "tiny", "names of checkpoints with commas between (small, medium,"),
        ("MUSICGEN_MODELS", "small,", "names of checkpoints with commas between (small, medium,"),
        ("MUSICGEN_WEIGHTS", __file__, "a folder"),
        ("MUSICGEN_METRICS", "yes", "one of key, open, off"),
        ("MUSICGEN_ACCESS_LOG", "all", "1 or 0"),
        ("MUSICGEN_API_KEYS_FILE", "/", "a file"),
        ("MUSICGEN_HOSTS", "https://music.example.com", "names of hosts with commas between"),
        ("MUSICGEN_HOSTS", "music.example.com:5000", "names of hosts with commas between"),
        ("MUSICGEN_CORS_ORIGINS", "app.example.com", "origins such as https://"),
        ("MUSICGEN_CORS_ORIGINS", "https://app.example.com/", "origins such as https://"),
        ("MUSICGEN_PUBLIC_URL", "music.test", "like https://music.example.org, perhaps with a path"),
        ("MUSICGEN_PUBLIC_URL", "https://music.test/?x", "like https://music.example.org, perhaps with a path"),
        ("MUSICGEN_MODEL_NAMES", "music=meta/musicgen", "like acme/music=meta/musicgen, with commas between"),
        ("MUSICGEN_MODEL_NAMES", "a/b=c/d,", "like acme/music=meta/musicgen, with commas between"),
        ("PORT", "http", "a whole number from 1 to 65,535"),
        ("PORT", "70000", "a whole number from 1 to 65,535"),
        ("PORT", "9" * 5000, "a whole number from 1 to 65,535"),
    ],
)
def test_invalid_value_is_reported_with_allowed_values(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({name: value})
    assert str(refused.value).startswith(f"{name} must be {allowed}")
    assert str(refused.value).endswith(f", not '{value}'.")


@pytest.mark.parametrize("value", [SECRET.removeprefix("whsec_"), "whsec_c2hvcnQ=", f"{SECRET}?", f"{SECRET[:-1]}é"])
def test_an_invalid_secret_is_not_quoted(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"MUSICGEN_WEBHOOK_SECRET": value})
    assert str(refused.value) == "MUSICGEN_WEBHOOK_SECRET must be `whsec_` and 24 to 64 bytes in base64."


def test_all_invalid_values_are_reported_at_once() -> None:
    with pytest.raises(SettingsError, match=r"^MUSICGEN_MAX_INPUT_MB must .* MUSICGEN_DRAIN_SECONDS must be .*'2m'\.$"):
        load({"MUSICGEN_DRAIN_SECONDS": "2m", "MUSICGEN_MAX_INPUT_MB": "abc"})


@pytest.mark.parametrize("command", [["serve"], ["weights", "path"], ["predict", "-i", "prompt=rock"]])
def test_command_line_rejects_an_invalid_value_first(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_DRAIN_SECONDS", "2m")
    with pytest.raises(SystemExit) as refused:
        cli.main(command)
    assert refused.value.code == "error: MUSICGEN_DRAIN_SECONDS must be a number from 0 to 86,400, not '2m'."


def test_setup_reports_an_invalid_value_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MODELS", "demo")
    for value, sentence in (
        ("fp8", "^MUSICGEN_PRECISION must be one of .*, not 'fp8'.$"),
        ("half", "^MUSICGEN_PRECISION=half is not for a cpu device, which has one of exact, .*auto.$"),
    ):
        monkeypatch.setenv("MUSICGEN_PRECISION", value)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(SettingsError, match=sentence):
            ServiceRunner().setup()


def test_serve_reports_an_invalid_value() -> None:
    environment = os.environ | {"PORT": "http"}
    command = [sys.executable, "-m", "musicgen_service", "serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "PORT must be a whole number" in done.stderr


def test_a_misspelt_variable_is_logged(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MUSICGEN_DRAIN_SECOND", "5")
    monkeypatch.setenv("MUSICGEN_COLOUR", "blue")
    monkeypatch.setenv("MUSICGEN_PORT", "80")
    monkeypatch.setenv("OTHER_DRAIN_SECONDS", "5")
    settings.load_at_start()
    assert capsys.readouterr().err.splitlines() == [
        "MUSICGEN_COLOUR has no effect: there is no such setting.",
        "MUSICGEN_DRAIN_SECOND has no effect: did you mean MUSICGEN_DRAIN_SECONDS?",
        "MUSICGEN_PORT has no effect: did you mean PORT?",
    ]


def test_precisions_are_those_of_the_engine() -> None:
    assert (*Precision, settings.AUTO_PRECISION) == settings.PRECISIONS


def test_the_page_for_operators_has_every_variable() -> None:
    assert f"\n{settings.table()}\n" in Path("docs/operators.md").read_text()


def test_nothing_else_reads_the_environment() -> None:
    readers = {
        str(module)
        for folder in ("musicgen_service", "compat")
        for module in Path(folder).rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, (ast.Name, ast.Attribute))
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in ("environ", "getenv", "environb")
    }
    # `serve` hands the environment on to Cog's server and to trainings, `threads` says what OpenMP reads there, and a
    # shell that wants a completion asks there.
    own = ("settings", "serving/cog_server", "serving/training_process", "threads", "cli/completion")
    assert readers == {f"musicgen_service/{name}.py" for name in own}
