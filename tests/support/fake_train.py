"""The command `train --json` without any training. The trigger says what it does:

| trigger | what |
|---|---|
| `endless` | goes on until it is killed |
| `refused`, `large` | ends with an error of the command |
| `broken`, `killed` | ends with a traceback, or by a signal |
| none of these | says all that a training says, and leaves the folder of an adapter, with a sample |

It writes its arguments to `calls` in the weights folder, a line of JSON for each call.
"""

import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from musicgen_service.cli.train import OUT_OF_MEMORY

SHA256 = "ab" * 32
SONG = {"name": "a.wav", "seconds": 7.0, "pieces": 1, "caption": "rock, 120 bpm", "notes": [], "problem": None}


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def content(song: Path) -> str | dict[str, str]:
    """The text of a file, or those of the files in a zip."""
    if not zipfile.is_zipfile(song):
        return song.read_bytes().decode()
    with zipfile.ZipFile(song) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def stage(name: str, done: int, total: int, more: str = "") -> None:
    say(stage=name, done=done, total=total, more=more, seconds_left=None if done == 1 else 2.0 * (total - done))


def main() -> None:
    words, songs = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words)
    weights = Path(os.environ["MUSICGEN_WEIGHTS"])
    with (weights / "calls").open("a") as calls:
        read = [content(Path(song)) if Path(song).is_file() else song for song in songs]
        calls.write(json.dumps({"options": options, "songs": songs, "read": read, "pid": os.getpid()}) + "\n")
    stage("listening", 1, 1)
    say(songs=[SONG], others=["cover.jpg"], summary="1 song, 1 piece, 0.1 minutes; 0 songs left out")
    if "dry-run" in options:
        return
    trigger = options.get("trigger")
    if trigger == "refused":
        print("a library says something", file=sys.stderr)
        sys.exit("error: An unfinished training has other songs: give the same, or begin anew with --restart.")
    if trigger == "large":
        sys.exit(f"error: {OUT_OF_MEMORY}")
    if trigger == "broken":
        raise RuntimeError("a secret")
    if trigger == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    work = weights / "training" / options["name"] / "samples"
    work.mkdir(parents=True, exist_ok=True)
    (work / "step00000-1.wav").write_bytes(b"RIFF")
    stage("training", 1, 3, "loss 3.0, held-out 3.1")
    while trigger == "endless":
        time.sleep(0.05)
    stage("training", 3, 3, "loss 2.0, held-out 2.1")
    (weights / "adapters").mkdir(exist_ok=True)
    work.parent.rename(weights / "adapters" / options["name"])
    say(adapter={"name": options["name"], "base": options["base"], "sha256": SHA256, "trigger": trigger})


if __name__ == "__main__":
    main()
