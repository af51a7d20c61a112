"""Every environment variable of the service: name, allowed values, default and purpose.

They are read by a dataclass of our own: pydantic-settings takes 0.25 s to import, in every command, and its errors
would still have to be turned into sentences.
"""

import difflib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from musicgen_service.installation import results_folder, weights_folder
from musicgen_service.models.catalogue import CHECKPOINTS, HTDEMUCS, SPLEETER
from musicgen_service.progress import log

PREFIX = "MUSICGEN_"
PRECISIONS = ("exact", "bf16", "int8", "half")
ENGINES = ("own", "reference")
METRICS = ("key", "open", "off")
SEPARATORS = ("auto", HTDEMUCS, SPLEETER)


class SettingsError(ValueError):
    """An environment variable has an invalid value; the message names it and says what is allowed."""


@dataclass(frozen=True)
class Kind:
    """The type of a variable.

    Attributes
    ----------
    allowed : description of the allowed values, completes "must be ..."
    parse : converts the text of the variable; raises ValueError when it is not allowed
    """

    allowed: str
    parse: Callable[[str], Any]


def _number(low: float, high: float, *, whole: bool = False, above: bool = False, unit: str = "") -> Kind:
    """A number from `low` to `high`; `above` excludes `low` itself."""

    def parse(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high or not math.isfinite(value) or (above and value == low):
            raise ValueError
        return value

    what = ("a whole number" if whole else "a number") + (f" of {unit}" if unit else "")
    bounds = f"above {low:,g}" if above else f"from {low:,g} to {high:,g}"
    return Kind(f"{what} {bounds}", parse)


def _choice(*allowed: str) -> Kind:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return Kind(f"one of {', '.join(allowed)}", parse)


def _checkpoints(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= CHECKPOINTS.keys():
        raise ValueError
    return names


def _folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError
    return text == "1"


_FLAG = Kind("1 or 0", _flag)


def _variable(kind: Kind, meaning: str, *, shown: str = "", name: str = "") -> dict[str, Any]:
    """Metadata of a field of `Settings`.

    Parameters
    ----------
    kind : type of the variable
    meaning : one sentence for docs/operators.md
    shown : the default in words, where its value is not self-explanatory
    name : name of the variable, where it is not `PREFIX` and the field's name
    """
    return {"kind": kind, "meaning": meaning, "shown": shown, "name": name}


@dataclass(frozen=True)
class Settings:
    """The validated settings."""

    weights: Path = field(
        default_factory=weights_folder,
        metadata=_variable(
            Kind("a folder", _folder),
            "the weights folder",
            shown="`weights/` beside the package; of an installation: in the user's data folder",
        ),
    )
    models: tuple[str, ...] = field(
        default=(),
        metadata=_variable(
            Kind(f"names of checkpoints with commas between ({', '.join(CHECKPOINTS)})", _checkpoints),
            "checkpoints to load at start; others load when first asked for",
            shown="the best one for text",
        ),
    )
    memory_gb: float | None = field(
        default=None,
        metadata=_variable(
            _number(0, math.inf, above=True, unit="gigabytes"),
            "memory that loaded models may take; the least recently used leave first",
            shown="80 % of what is free at start",
        ),
    )
    slots: int = field(
        default=8,
        metadata=_variable(
            _number(1, 64, whole=True), "requests that `serve` carries out at the same time; others wait"
        ),
    )
    precision: str | None = field(
        default=None,
        metadata=_variable(
            _choice(*PRECISIONS),
            "`exact`: float32, audiocraft's own tokens; `int8`: weights of 8 bits, on a CPU; `half`: on a GPU",
            shown="`exact` on a CPU, `half` on a GPU",
        ),
    )
    engine: str = field(
        default="own",
        metadata=_variable(_choice(*ENGINES), "`reference` generates with audiocraft's own loop", shown="`own`"),
    )
    cuda_graph: bool = field(
        default=True,
        metadata=_variable(_FLAG, "`0` launches a GPU's kernels one by one instead of a step as a whole", shown="1"),
    )
    separator: str = field(
        default="auto",
        metadata=_variable(
            _choice(*SEPARATORS),
            f"what takes recordings apart; `auto`: `{HTDEMUCS}` where it was fetched, else `{SPLEETER}`",
            shown="`auto`",
        ),
    )
    max_input_mb: float = field(
        default=100.0, metadata=_variable(_number(1, 10_000), "the largest file that is fetched for a client, in MiB")
    )
    allow_private_urls: bool = field(
        default=False,
        metadata=_variable(
            _FLAG, "`1` fetches from, and reports to, private addresses too: for an intranet", shown="0"
        ),
    )
    queue: int = field(
        default=100,
        metadata=_variable(_number(1, 10_000, whole=True), "predictions that may wait for their turn"),
    )
    connections_per_address: int = field(
        default=1000,
        metadata=_variable(
            _number(1, 10_000, whole=True), "connections that one address may have; a proxy before the service is one"
        ),
    )
    results: Path = field(
        default_factory=results_folder,
        metadata=_variable(
            Kind("a folder", _folder),
            "the folder of finished predictions, which outlive a restart",
            shown="in the user's folder for state",
        ),
    )
    keep_seconds: float = field(
        default=3600.0,
        metadata=_variable(_number(0, 10_000_000), "how long finished predictions are kept, in seconds"),
    )
    drain_seconds: float = field(
        default=120.0,
        metadata=_variable(_number(0, 86_400), "how long predictions may go on after SIGTERM, in seconds"),
    )
    metrics: str = field(
        default="key",
        metadata=_variable(
            _choice(*METRICS),
            "who may read `/metrics`; `key`: who has a key, where keys are needed; `open`: everybody; `off`: nobody",
            shown="`key`",
        ),
    )
    metrics_socket: Path | None = field(
        default=None,
        metadata=_variable(
            Kind("a path", Path), "where the worker offers its metrics to the gateway: `serve` sets it", shown="none"
        ),
    )
    access_log: bool = field(
        default=True,
        metadata=_variable(_FLAG, "`0`: no line of JSON on standard output for each request", shown="1"),
    )
    port: int = field(
        default=5000,
        metadata=_variable(_number(1, 65_535, whole=True), "where `serve` listens without `--port`", name="PORT"),
    )


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from an environment; an empty variable counts as unset.

    Raises
    ------
    SettingsError
        With a sentence for each invalid variable.
    """
    values: dict[str, Any] = {}
    problems = []
    for name, entry in _BY_NAME.items():
        text = environment.get(name, "").strip()
        if text:
            kind: Kind = entry.metadata["kind"]
            try:
                values[entry.name] = kind.parse(text)
            except (ValueError, OverflowError):
                problems.append(f"{name} must be {kind.allowed}, not '{text}'.")
    if problems:
        raise SettingsError(" ".join(problems))
    return Settings(**values)


def load_at_start() -> Settings:
    """Load the settings at the start of a command or server, and log unknown `MUSICGEN_` variables."""
    known = {name.removeprefix(PREFIX): name for name in _BY_NAME}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in _BY_NAME:
            similar = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
            hint = f"did you mean {known[similar[0]]}?" if similar else "there is no such setting."
            log(f"{name} has no effect: {hint}")
    return load()


def table() -> str:
    """Format the variables as the Markdown table in docs/operators.md."""
    rows = ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
    for name, entry in _BY_NAME.items():
        described = entry.metadata
        default = described["shown"] or f"{entry.default:g}"
        rows.append(f"| `{name}` | {default} | {described['kind'].allowed} | {described['meaning']} |")
    return "\n".join(rows)


_BY_NAME = {entry.metadata["name"] or PREFIX + entry.name.upper(): entry for entry in fields(Settings)}
