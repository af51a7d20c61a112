"""The command line: `python -m musicgen_service predict | serve | weights | recipe | analyse`."""

import argparse
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_service import settings, systems
from musicgen_service.audio import reading, recipe
from musicgen_service.audio.encoding import FORMATS, EncodingError
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS
from musicgen_service.models.store import WeightsError, WeightStore, fetch_hint
from musicgen_service.request import FIELDS, Field, RequestError


class UsageError(ValueError):
    """A command line that cannot be understood."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exits with status 1 and one line on an error."""
    options = _parser().parse_args(arguments)
    try:
        settings.at_start()
        options.command(options)
    except (
        settings.SettingsError,
        UsageError,
        RequestError,
        WeightsError,
        EncodingError,
        recipe.RecipeError,
        reading.AudioError,
    ) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def parse_inputs(pairs: list[str], fields: Mapping[str, Field] = FIELDS) -> dict[str, Any]:
    """`name=value` pairs to inputs: numbers and true/false by the field's type, files as `@path`.

    Raises
    ------
    UsageError
        For an unknown name, a value of the wrong type, or a file that is not there.
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"'{pair}' is not of the form name=value.")
        if name not in fields:
            raise UsageError(f"There is no input '{name}': use some of {', '.join(fields)}.")
        inputs[name] = _value(name, fields[name].kind, text)
    return inputs


def _value(name: str, kind: type, text: str) -> Any:
    if kind is Path:
        path = Path(text.removeprefix("@")).expanduser()
        if not path.is_file():
            raise UsageError(f"{name}: there is no file {path}.")
        return path
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{name} must be true or false, not '{text}'.")
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise UsageError(f"{name} must be {'a whole number' if kind is int else 'a number'}, not '{text}'.") from None


def _predict(options: argparse.Namespace) -> None:
    predictor = systems.load(options.system)
    inputs = parse_inputs(options.input, predictor.fields)
    output: Path | None = options.output
    if output is not None and output.suffix[1:] in FORMATS:
        inputs.setdefault("output_format", output.suffix[1:])
    # A request that cannot succeed is refused before anything is loaded, and only its model is loaded.
    request = predictor.settle(inputs, WeightStore.from_environment().present())
    predictor.start([request.model_version])
    started = time.monotonic()
    files = predictor.clips(inputs)
    taken = time.monotonic() - started
    for file in files:
        target = _target(output, file, several=len(files) > 1)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
        print(f"{target}  {reading.seconds(target):.2f} s of audio, seed {recipe.read(target)['seed']}")
    print(f"made in {taken:.1f} s")


def _target(output: Path | None, file: Path, several: bool) -> Path:
    if output is None:
        return Path(file.name)
    # The service's names end in the clip's number, and in its part where it is one: 01, 01_backing.
    return output.with_name(f"{output.stem}-{file.stem.rpartition('-')[2]}{output.suffix}") if several else output


def _serve(options: argparse.Namespace) -> None:
    from musicgen_service.server import ServeError, serve

    port = options.port if options.port is not None else settings.load().port
    try:
        serve(options.host, port, options.system)
    except ServeError as error:
        raise UsageError(str(error)) from None


def _list_weights(_options: argparse.Namespace) -> None:
    store = WeightStore.from_environment()
    for checkpoint in CHECKPOINTS.values():
        state = "here" if store.has(checkpoint.name) else "-"
        channels = "stereo" if checkpoint.channels == 2 else "mono"
        conditioning = "text, melody" if checkpoint.takes_melody else "text"
        size = f"{checkpoint.parameters} M"
        print(
            f"{checkpoint.name:20} {state:5} {size:>7}  {channels:7} {conditioning:13} "
            f"{checkpoint.window:g} s  {checkpoint.licence:14} {checkpoint.hub_id or 'part of this repository'}"
        )
    for component in COMPONENTS.values():
        state = "here" if store.has(component.name) else "-"
        source = component.hub_id or component.page
        print(f"{component.name:20} {state:5} {'':>7}  {'shared part':27} {component.licence:14} {source}")


def _fetch_weights(options: argparse.Namespace) -> None:
    for line in WeightStore.from_environment().fetch(options.name):
        print(line, flush=True)


def _verify_weights(options: argparse.Namespace) -> None:
    store = WeightStore.from_environment()
    fetched = [*CHECKPOINTS, *(name for name, component in COMPONENTS.items() if component.hub_id)]
    names = options.names or [name for name in fetched if store.has(name)]
    problems = [problem for name in names for problem in store.verify(name)]
    if problems:
        raise WeightsError("; ".join(problems) + f": {fetch_hint('NAME')} to replace what is damaged.")
    print(f"checksums agree: {', '.join(names)}")


def _weights_path(_options: argparse.Namespace) -> None:
    print(WeightStore.from_environment().root)


def _recipe(options: argparse.Namespace) -> None:
    found = recipe.read(options.file)
    print(recipe.command(found))
    if found.get("input_audio"):
        print(f"input_audio is the file with SHA-256 {found['input_audio_sha256']}", file=sys.stderr)


def _analyse(options: argparse.Namespace) -> None:
    # Imported here: librosa takes a second to load.
    from musicgen_service.analysis import report, tracker

    if not options.file.is_file():
        raise UsageError(f"There is no file {options.file}.")
    if options.plot and options.plot.suffix not in report.PICTURES:
        raise UsageError(f"A plot's name must end in {', '.join(report.PICTURES)}, unlike '{options.plot}'.")
    found = report.analyse(reading.read(options.file), tracker.choose(WeightStore.from_environment()))
    print(found)
    if options.plot:
        report.plot(found, options.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m musicgen_service", description="MusicGen as one service.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    system: dict[str, Any] = {"dest": "system", "choices": systems.names(), "help": "take the place of this system"}

    predict = commands.add_parser("predict", help="make clips: -i prompt='...' -o clip.wav")
    predict.add_argument("-i", "--input", action="append", default=[], metavar="NAME=VALUE", help="files as @path")
    predict.add_argument("-o", "--output", type=Path, help="where to put the clip (numbered when there are several)")
    predict.add_argument("--as", **system)
    predict.set_defaults(command=_predict)

    serve = commands.add_parser("serve", help="answer HTTP requests with Cog's server")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, help="where to listen; otherwise PORT says where, or 5000")
    serve.add_argument("--as", **system)
    serve.set_defaults(command=_serve)

    weights = commands.add_parser("weights", help="list, fetch, verify, path").add_subparsers(required=True)
    weights.add_parser("list", help="what there is and what is here").set_defaults(command=_list_weights)
    fetch = weights.add_parser("fetch", help="fetch a checkpoint and all it needs")
    fetch.add_argument("name")
    fetch.set_defaults(command=_fetch_weights)
    verify = weights.add_parser("verify", help="compare files with their checksums")
    verify.add_argument("names", nargs="*")
    verify.set_defaults(command=_verify_weights)
    weights.add_parser("path", help="print the weights folder").set_defaults(command=_weights_path)

    again = commands.add_parser("recipe", help="print the command that makes a clip again")
    again.add_argument("file", type=Path)
    again.set_defaults(command=_recipe)

    analyse = commands.add_parser("analyse", help="print tempo, beats, key, loudness and chords of a recording")
    analyse.add_argument("file", type=Path)
    analyse.add_argument("--plot", type=Path, metavar="PICTURE", help="also draw waveform, beats and chords")
    analyse.set_defaults(command=_analyse)
    return parser
