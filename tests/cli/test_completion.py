"""Completion in real shells: keys are sent to a terminal, and the resulting line is printed."""

import os
import pty
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.shell import COMMAND, PROJECT, environment

TAB, ALL, HOME = "\t", "\x1b*", "\x01"
"""Complete the word, insert every completion, go to the beginning of the line."""
_START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$({command} completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u; eval "$({command} completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "{command} completion fish | source"),
}


def lines_of(shell: str, keys: list[str], folder: Path) -> list[str]:
    """Type keys in a shell; returns the resulting lines."""
    start, load = _START[shell]
    # A shell's own editor shows every key; what the lines became is written to a file instead.
    typed = [load.format(command=" ".join(COMMAND)), *(f"{line}{HOME}echo >>lines " for line in keys), "exit"]
    variables = {**environment(), "TERM": "xterm", "HOME": str(folder), "COLUMNS": "400"}
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe(start[0], start, variables)
    os.write(terminal, "\n".join([*typed, ""]).encode())
    with suppress(OSError):  # the shell has closed its end
        while os.read(terminal, 65536):
            pass
    os.close(terminal)
    os.waitpid(process, 0)
    return (folder / "lines").read_text().splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    (folder / "riff.wav").touch()
    return folder


CASES = {
    f"musicgen pre{TAB}": "musicgen predict",
    f"musicgen weights fetch stereo-melody-{TAB}": "musicgen weights fetch stereo-melody-large",
    f"musicgen weights verify htd{TAB}": "musicgen weights verify htdemucs",
    f"musicgen predict -i mod{TAB}demo": "musicgen predict -i model_version=demo",
    f"musicgen predict -i task=lo{TAB}": "musicgen predict -i task=loop",
    f"musicgen predict --as m3{TAB}": "musicgen predict --as m3maker",
    f"musicgen predict --as musicgen_looper -i max{TAB}5": "musicgen predict --as musicgen_looper -i max_duration=5",
    f"musicgen predict --output_f{TAB} mp{TAB}": "musicgen predict --output_format mp3",
    f"musicgen predict -i input_audio=@rif{TAB}": "musicgen predict -i input_audio=@riff.wav",
    f"musicgen analyse rif{TAB}": "musicgen analyse riff.wav",
}


@pytest.mark.parametrize("shell", _START)
def test_tab_completes(shell: str, folder: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    (folder / "lines").unlink(missing_ok=True)
    found = [" ".join(line.split()) for line in lines_of(shell, list(CASES), folder)]
    assert found == list(CASES.values())


def test_all_inputs_and_checkpoints_are_offered(folder: Path) -> None:
    from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS
    from musicgen_service.requests.fields import FIELDS

    (folder / "lines").unlink(missing_ok=True)
    keys = [f"musicgen predict -i {ALL}", f"musicgen weights fetch {ALL}", f"musicgen predict -i model_version={ALL}"]
    inputs, names, models = lines_of("bash", keys, folder)
    assert inputs.split()[3:] == sorted(f"{name}=" for name in FIELDS)
    assert set(names.split()[3:]) >= {*CHECKPOINTS, *COMPONENTS}
    assert set(re.findall(r"[\w-]+", models.partition("=")[2])) == {"auto", *CHECKPOINTS}


def test_the_module_is_marked_for_global_completion() -> None:
    assert "PYTHON_ARGCOMPLETE_OK" in (PROJECT / "musicgen_service/__main__.py").read_text()[:1024]
