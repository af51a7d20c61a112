"""Every environment variable of the service: name, allowed values, default and purpose.

They are read by a dataclass of our own: pydantic-settings takes 0.25 s to import, in every command, and its errors
would still have to be turned into sentences.
"""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from musicgen_service.installation import results_folder, weights_folder
from musicgen_service.models.catalogue import CHECKPOINTS, HTDEMUCS, SPLEETER
from musicgen_service.progress import log
from musicgen_service.setting_types import (
    FILE,
    FLAG,
    FOLDER,
    HOSTS,
    MODEL_NAMES,
    ORIGINS,
    PUBLIC_URL,
    WEBHOOK_SECRET,
    Kind,
    choice,
    choices,
    number,
    variable,
)

PREFIX = "MUSICGEN_"
AUTO_PRECISION = "auto"
PRECISIONS = ("exact", "bf16", "int8", "half", AUTO_PRECISION)
ENGINES = ("own", "reference")
METRICS = ("key", "open", "off")
SEPARATORS = ("auto", HTDEMUCS, SPLEETER)


class SettingsError(ValueError):
    """An environment variable has an invalid value; the message names it and says what is allowed."""


@dataclass(frozen=True)
class Settings:
    """The validated settings."""

    weights: Path = field(
        default_factory=weights_folder,
        metadata=variable(
            FOLDER,
            "the weights folder",
            shown="`weights/` beside the package; of an installation: in the user's data folder",
        ),
    )
    models: tuple[str, ...] = field(
        default=(),
        metadata=variable(
            choices("names of checkpoints", CHECKPOINTS),
            "checkpoints to load at start; others load when first asked for",
            shown="the best one for text",
        ),
    )
    memory_gb: float | None = field(
        default=None,
        metadata=variable(
            number(0, math.inf, above=True, unit="gigabytes"),
            "memory that loaded models may take; the least recently used leave first",
            shown="80 % of what is free at start",
        ),
    )
    slots: int = field(
        default=8,
        metadata=variable(number(1, 64, whole=True), "requests that `serve` carries out at the same time; others wait"),
    )
    precision: str | None = field(
        default=None,
        metadata=variable(
            choice(*PRECISIONS),
            "`exact`: float32, audiocraft's own tokens; `int8`: weights, keys and values of 8 bits, on a CPU; "
            "`half`, `bf16`: on a GPU; `auto`: the fastest that is close enough to float32, measured once",
            shown="`exact` on a CPU, `half` on a GPU",
        ),
    )
    engine: str = field(
        default="own",
        metadata=variable(choice(*ENGINES), "`reference` generates with audiocraft's own loop", shown="`own`"),
    )
    cuda_graph: bool = field(
        default=True,
        metadata=variable(FLAG, "`0` launches a GPU's kernels one by one instead of a step as a whole", shown="1"),
    )
    separator: str = field(
        default="auto",
        metadata=variable(
            choice(*SEPARATORS),
            f"what takes recordings apart; `auto`: `{HTDEMUCS}` where it was fetched, else `{SPLEETER}`",
            shown="`auto`",
        ),
    )
    max_input_mb: float = field(
        default=100.0, metadata=variable(number(1, 10_000), "the largest file that is fetched or uploaded, in MiB")
    )
    max_songs_mb: float = field(
        default=500.0,
        metadata=variable(
            number(1, 10_000), "the largest archive of songs to train on that is fetched or uploaded, in MiB"
        ),
    )
    max_uploads_mb: float = field(
        default=500.0,
        metadata=variable(number(1, 100_000), "uploaded files that one client may have together, in MiB"),
    )
    allow_private_urls: bool = field(
        default=False,
        metadata=variable(FLAG, "`1` fetches from, and reports to, private addresses too: for an intranet", shown="0"),
    )
    queue: int = field(
        default=100,
        metadata=variable(number(1, 10_000, whole=True), "predictions that may wait for their turn"),
    )
    connections_per_address: int = field(
        default=1000,
        metadata=variable(
            number(1, 10_000, whole=True),
            "connections that one address may have, half of all at most; a proxy before the service is one",
        ),
    )
    api_keys_file: Path | None = field(
        default=None,
        metadata=variable(
            FILE,
            "the API keys of those who may use `serve`; `keys add` makes one",
            shown="none, and whoever reaches the port may use it",
        ),
    )
    hosts: tuple[str, ...] = field(
        default=(),
        metadata=variable(
            HOSTS,
            "names by which clients reach `serve`, besides those of the loopback interface",
            shown="any; on the loopback interface no others",
        ),
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=variable(ORIGINS, "web pages of other hosts that may use `serve`; `*`: all of them", shown="none"),
    )
    requests_per_minute: float = field(
        default=6000.0,
        metadata=variable(number(1, 1_000_000), "requests that one client may send, a minute's worth of them at once"),
    )
    max_audio_seconds: float = field(
        default=1200.0,
        metadata=variable(
            number(1, 1_000_000),
            "audio that one request to a server may ask for, all variations and repetitions together, in seconds",
        ),
    )
    audio_seconds_per_minute: float = field(
        default=6000.0,
        metadata=variable(
            number(1, 1_000_000), "audio that one client may ask for, a minute's worth of it at once, in seconds"
        ),
    )
    prediction_seconds: float = field(
        default=3600.0,
        metadata=variable(number(1, 1_000_000), "how long a prediction may run, its wait not counted, in seconds"),
    )
    max_body_mb: float = field(
        default=100.0, metadata=variable(number(1, 100), "the largest body of a request, in MiB")
    )
    head_seconds: float = field(
        default=10.0,
        metadata=variable(number(1, 3600), "how long the head of a request may take to arrive, in seconds"),
    )
    body_seconds: float = field(
        default=300.0,
        metadata=variable(number(1, 3600), "how long the body of a request may take to arrive, in seconds"),
    )
    results: Path = field(
        default_factory=results_folder,
        metadata=variable(
            FOLDER,
            "the folder of finished predictions, which outlive a restart",
            shown="in the user's folder for state",
        ),
    )
    keep_seconds: float = field(
        default=3600.0,
        metadata=variable(number(0, 10_000_000), "how long finished predictions and uploads are kept, in seconds"),
    )
    trainings: bool = field(
        default=True,
        metadata=variable(FLAG, "`0`: clients of `serve` may not train adapters", shown="1"),
    )
    model_names: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}),
        metadata=variable(
            MODEL_NAMES,
            "further names of the models under `/v1`: models, deployments and versions of the hosted platform",
            shown="none",
        ),
    )
    public_url: str | None = field(
        default=None,
        metadata=variable(
            PUBLIC_URL,
            "the address by which clients know the service, where a proxy stands before it",
            shown="that of each request",
        ),
    )
    webhook_secret: str | None = field(
        default=None,
        metadata=variable(
            WEBHOOK_SECRET,
            "what webhooks are signed with (Standard Webhooks); every client may ask for it",
            shown="webhooks are not signed",
            is_secret=True,
        ),
    )
    drain_seconds: float = field(
        default=120.0,
        metadata=variable(number(0, 86_400), "how long predictions may go on after SIGTERM, in seconds"),
    )
    metrics: str = field(
        default="key",
        metadata=variable(
            choice(*METRICS),
            "who may read `/metrics`; `key`: who has a key, where keys are needed; `open`: everybody; `off`: nobody",
            shown="`key`",
        ),
    )
    worker_socket: Path | None = field(
        default=None,
        metadata=variable(
            Kind("a path", Path), "where the worker answers what the gateway asks: `serve` sets it", shown="none"
        ),
    )
    audio_socket: Path | None = field(
        default=None,
        metadata=variable(
            Kind("a path", Path), "where the gateway takes audio while it is made: `serve` sets it", shown="none"
        ),
    )
    served_files: Path | None = field(
        default=None,
        metadata=variable(
            Kind("a path", Path), "where the files that the gateway serves are: `serve` sets it", shown="none"
        ),
    )
    access_log: bool = field(
        default=True,
        metadata=variable(FLAG, "`0`: no line of JSON on standard output for each request", shown="1"),
    )
    port: int = field(
        default=5000,
        metadata=variable(number(1, 65_535, whole=True), "where `serve` listens without `--port`", name="PORT"),
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
                quoted = "" if entry.metadata["is_secret"] else f", not '{text}'"
                problems.append(f"{name} must be {kind.allowed}{quoted}.")
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
