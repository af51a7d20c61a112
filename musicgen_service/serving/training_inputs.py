"""The inputs of a training by HTTP, by the hosted fine-tuner's names, and what they are to the command `train`."""

from collections.abc import Mapping, Sequence
from typing import Any

from musicgen_service.inputs import fetching
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.fields import Field, check
from musicgen_service.training.numbers import NUMBERS
from musicgen_service.training.options import TARGETS

SONGS = "dataset_path"
_SONGS_MEANING = (
    "The songs: the address or data URI of a zip, a tar or a single song, or a list of several; a .txt beside a song, "
    "in the archive or in the list, describes it."
)
_MAX_SONGS = 100
_EPOCHS, _UPDATES = 3, 100
"""Of the hosted fine-tuner; their product is the number of steps, where one of the two is given."""
_RATE = NUMBERS["rate"]
_OWN = tuple(name for name in NUMBERS if name not in ("steps", "rate", "batch", "dropout"))
"""Options of the command that the hosted fine-tuner does not have, under their own names."""


def _number(name: str, meaning: str = "") -> Field:
    """A field like an option of the command, without a default: that is the base's."""
    number = NUMBERS[name]
    description = meaning or f"{number.meaning[0].upper()}{number.meaning[1:]}."
    return Field(number.kind, None, number.low, number.high, description=description)


FIELDS = {
    "auto_labeling": Field(bool, True, description="Add the tempo, key and metre that are heard to the captions."),
    "drop_vocals": Field(bool, True, description="Take the vocals out of the songs first."),
    "one_same_description": Field(str, description="The caption of songs without a .txt; else their files' names."),
    "model_version": Field(str, "stereo-melody", choices=tuple(CHECKPOINTS), description="The checkpoint to train on."),
    "epochs": Field(int, None, 1, 1000, description=f"Steps, in epochs; {_EPOCHS} where only their length is given."),
    "updates_per_epoch": Field(
        int, None, 1, 10_000, description=f"Steps of an epoch; {_UPDATES} where only their number is given."
    ),
    "batch_size": _number("batch", "Clips of a step."),
    "optimizer": Field(str, "dadam", choices=("dadam", "adamw"), description="With `adamw`, `lr` has an effect."),
    "lr": Field(float, None, _RATE.low, _RATE.high, description="Highest learning rate, with `adamw`."),
    "lr_scheduler": Field(
        str,
        "cosine",
        choices=("exponential", "cosine", "polynomial_decay", "inverse_sqrt", "linear_warmup"),
        description="It is a cosine, whichever is chosen.",
    ),
    "warmup": Field(int, None, 0, 100_000, description="It has no effect: a tenth of the steps, 20 at most, warm up."),
    "cfg_p": _number("dropout", "Share of clips without a caption, where there is no trigger."),
    "trigger": Field(str, description="Words that ask for it in prompts; without a trigger it always sounds."),
    **{name: _number(name) for name in _OWN},
    "targets": Field(str, description=f"Matrices to change, of {','.join(TARGETS)}."),
    "checkpointing": Field(bool, description="Save memory, at the cost of time."),
    "restart": Field(bool, False, description="Begin anew where a training of that name was interrupted."),
    "preview": Field(bool, False, description="Tell what is understood of the songs, and train nothing."),
}
"""All but the songs."""


def read(inputs: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any], list[str]]:
    """Read the inputs of a training; returns the addresses of its songs, the other values, and the problems found."""
    others = {name: value for name, value in inputs.items() if name != SONGS}
    values, problems = check(FIELDS, others)
    given = inputs.get(SONGS)
    songs = [given] if isinstance(given, str) else given
    if not (isinstance(songs, list) and 0 < len(songs) <= _MAX_SONGS and all(map(fetching.is_address, songs))):
        problems.insert(0, f"{SONGS} must be an http(s) URL or a data URI, or a list of up to {_MAX_SONGS} of them.")
        return (), values, problems
    if not set(_targets(values)) <= set(TARGETS):
        problems.append(f"targets must be some of {','.join(TARGETS)}.")
    steps = _steps(values)
    if not problems and steps is not None and steps > NUMBERS["steps"].high:
        problems.append(f"epochs and updates_per_epoch make {steps:,} steps; {NUMBERS['steps'].high:,} are allowed.")
    return tuple(songs), values, problems


def words(values: Mapping[str, Any], base: str) -> list[str]:
    """The options of the command `train` for these values, without the songs and the name."""
    numbers = {name: values[name] for name in _OWN}
    numbers |= {"steps": _steps(values), "batch": values["batch_size"], "dropout": values["cfg_p"]}
    numbers["rate"] = values["lr"] if values["optimizer"] == "adamw" else None
    given = [f"--{name}={value}" for name, value in numbers.items() if value is not None]
    texts = {"trigger": values["trigger"], "caption": values["one_same_description"]}
    given += [f"--{name}={value}" for name, value in texts.items() if value is not None]
    given += [f"--targets={','.join(targets)}"] if (targets := _targets(values)) else []
    if values["checkpointing"] is not None:
        given.append("--checkpointing" if values["checkpointing"] else "--no-checkpointing")
    flags = {
        "as-written": not values["auto_labeling"],
        "drop-vocals": values["drop_vocals"],
        "restart": values["restart"],
        "dry-run": values["preview"],
    }
    return [f"--base={base}", *given, *(f"--{name}" for name, is_set in flags.items() if is_set)]


def notes(inputs: Mapping[str, Any]) -> list[str]:
    """What has no effect of the inputs that were given, a sentence for each."""
    found = []
    if inputs.get("lr") is not None and inputs.get("optimizer") != "adamw":
        found.append("lr has no effect without the optimizer adamw: the base's own learning rate is used.")
    if inputs.get("lr_scheduler") not in (None, "cosine"):
        found.append("lr_scheduler has no effect: the learning rate falls in a cosine.")
    if inputs.get("warmup") is not None:
        found.append("warmup has no effect: a tenth of the steps, 20 at most, warm up.")
    return found


def schema() -> dict[str, Any]:
    """The inputs in the form of an OpenAPI schema."""
    address = {"type": "string", "format": "uri"}
    songs = {"type": "array", "items": address, "minItems": 1, "maxItems": _MAX_SONGS}
    properties: dict[str, Any] = {SONGS: {"description": _SONGS_MEANING, "anyOf": [address, songs]}}
    properties |= {name: _property(field) for name, field in FIELDS.items()}
    return {"title": "TrainingInput", "type": "object", "required": [SONGS], "properties": properties}


def _property(field: Field) -> dict[str, Any]:
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    found = {
        "type": types[field.kind],
        "description": field.description,
        "default": field.default,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "enum": list(field.choices) if field.choices else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _targets(values: Mapping[str, Any]) -> list[str]:
    return (values.get("targets") or "").replace(",", " ").split()


def _steps(values: Mapping[str, Any]) -> int | None:
    epochs, updates = values.get("epochs"), values.get("updates_per_epoch")
    return None if epochs is None and updates is None else (epochs or _EPOCHS) * (updates or _UPDATES)


def without_data(songs: Sequence[str]) -> list[str]:
    """Addresses without the data of data URIs, to be shown."""
    return [song if song.lstrip()[:5].lower() != "data:" else "data:" for song in songs]
