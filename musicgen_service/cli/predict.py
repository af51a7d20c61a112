"""The `predict` command: generates clips."""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import IO, Any

from musicgen_service import predictors
from musicgen_service.cli import inputs
from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.files import deliver, writable_targets
from musicgen_service.cli.output import Output
from musicgen_service.cli.parser import Parser, complete_with


def add_arguments(parser: Parser, words: Sequence[str]) -> None:
    """Add the arguments of the command; the inputs are those of the system named in `words`."""
    from musicgen_service.requests.signature import declared_fields

    fields = declared_fields(type(predictors.load(system_in(words))).run)
    parser.usage = f"{parser.prog} [PROMPT] [-o OUTPUT] [options]"
    parser.epilog = f"For example: {parser.prog} 'lofi piano, 90 bpm' --duration 20 -o clip.mp3"
    prompt = parser.add_argument(
        "prompt", nargs="?", metavar="PROMPT", help="what the music should be like: short for --prompt PROMPT"
    )
    complete_with(prompt, ())
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help="a file, numbered when there are several clips; a folder, which ends in / or is there, for files under "
        "the service's own names; or - for standard output (default: a file in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files")
    parser.add_argument("--json", action="store_true", help="print files, lengths, metrics and recipes as JSON")
    parser.add_argument("--as", **systems_option())
    pairs = parser.add_argument("-i", "--input", action="append", dest="inputs", metavar="NAME=VALUE", help="an input")
    pairs.completer = inputs.PairCompleter(fields)  # type: ignore[attr-defined]
    inputs.add_options(parser, fields)
    parser.set_defaults(run=run, fields=fields)


def systems_option() -> dict[str, Any]:
    """Keyword arguments of the option that selects a drop-in predictor."""
    names = predictors.names()
    return {"dest": "system", "metavar": "SYSTEM", "choices": names, "help": f"in the place of {', '.join(names)}"}


def system_in(words: Sequence[str]) -> str | None:
    """The system named in `words`, or None; the parser rejects an unknown one."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = following if word == "--as" else word.removeprefix("--as=")
        if word.startswith("--as") and name in predictors.names():
            return name
    return None


def run(options: argparse.Namespace) -> None:
    """Generate the clips; an invalid request is rejected before any model is loaded."""
    from musicgen_service import naming
    from musicgen_service.inputs import fetching
    from musicgen_service.inputs.decoding import decode_files
    from musicgen_service.models.adapters import AdapterStore
    from musicgen_service.models.store import WeightStore

    prompt = [] if options.prompt is None else [f"prompt={options.prompt}"]
    values = inputs.parse(prompt + (options.inputs or []), options.fields)
    output = Output.parse(options.output, options.fields["output_format"].choices)
    _resolve_format(values, output, options.output)
    if output.standard and options.json:
        raise UsageError("-o - and --json both write to standard output: leave one of them out.")
    if output.standard and sys.stdout.isatty():
        raise UsageError("-o - would write a sound file to the terminal: send it to a program or a file.")
    predictor = predictors.load(options.system)
    with fetching.local_files(values, options.fields) as local_values:
        values = decode_files(local_values, options.fields)
    store = WeightStore.from_environment()
    request = predictor.resolve(values, store.present(), AdapterStore.of(store).bases())
    values["seed"] = request.seed
    names = naming.possible_names(request)
    if output.standard and len(names) > 1:
        raise UsageError(f"-o - takes one file, and there may be {len(names)}: name a folder.")
    if output.name is None and output.folder.is_dir():
        names += naming.among(request, sorted(file.name for file in output.folder.iterdir()))
    targets = [_target(output, name) for name in names]
    destination = nullcontext() if output.standard else writable_targets(targets, force=options.force)
    with (
        _exit_on_signals(),
        destination,
        _reserved_standard_output() as standard_output,
        _generated(predictor, request.model_version, values) as generated,
    ):
        files, metrics = generated
        if output.standard:
            with files[0].open("rb") as file:
                shutil.copyfileobj(file, standard_output.buffer)
            _print_summary(sys.stderr, _describe_all([(files[0], Path("-"))]), metrics)
            return
        moves = [(file, _target(output, file.name)) for file in files]
        descriptions = _describe_all(moves)
        deliver(moves, force=options.force)
    if options.json:
        print(json.dumps({"files": descriptions, "metrics": metrics}, indent=2))
    else:
        _print_summary(sys.stdout, descriptions, metrics)


def _target(output: Output, name: str) -> Path:
    from musicgen_service import naming

    return output.target(name, naming.label_in(Path(name).stem))


def _resolve_format(values: dict[str, Any], output: Output, text: str) -> None:
    """Take the format from the output's name; raise `UsageError` if an input contradicts it."""
    if output.format is None:
        return
    if values.setdefault("output_format", output.format) != output.format:
        chosen = values["output_format"]
        raise UsageError(f"-o {text} and output_format={chosen} contradict each other: leave one of them out.")


@contextmanager
def _generated(predictor: Any, model: str, values: dict[str, Any]) -> Iterator[tuple[list[Path], dict[str, Any]]]:
    """Generate the clips and the metrics of a server's response; the files exist for the duration of the block."""
    predictor.start([model])
    from musicgen_service.client_errors import ServiceError

    started, metrics = time.monotonic(), dict[str, Any]()
    # Whatever a signal interrupts, the files included that were made a moment before and are not known here.
    try:
        try:
            files = predictor.carry_out(values, metrics)
        except ServiceError as error:
            raise CommandError(str(error)) from None
        yield files, {"predict_time": round(time.monotonic() - started, 3), **metrics}
    finally:
        predictor.service.remove_files()


def _describe_all(moves: Sequence[tuple[Path, Path]]) -> list[dict[str, Any]]:
    """Describe clips, each with the MIDI file that follows it."""
    from musicgen_service import naming
    from musicgen_service.audio import encoding, recipe

    described: list[dict[str, Any]] = []
    for file, target in moves:
        if file.suffix == f".{naming.MIDI}":
            described[-1]["midi"] = str(target)
            continue
        contents = recipe.read(file)
        seconds = round(encoding.seconds(file), 6)
        described.append({"path": str(target), "seconds": seconds, "seed": contents["seed"], "recipe": contents})
    return described


def _print_summary(stream: IO[str], descriptions: list[dict[str, Any]], metrics: dict[str, Any]) -> None:
    for description in descriptions:
        print(
            f"{description['path']}  {description['seconds']:.2f} s of audio, seed {description['seed']}", file=stream
        )
        if "midi" in description:
            print(f"{description['midi']}  what is heard in it, as MIDI", file=stream)
    print(f"made in {metrics['predict_time']:.1f} s", file=stream)


@contextmanager
def _reserved_standard_output() -> Iterator[Any]:
    """Yield standard output, reserved for the result: anything else printed in the block goes to standard error."""
    standard_output = sys.stdout
    with redirect_stdout(sys.stderr):
        yield standard_output


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Turn signals that end the process into SystemExit, so that the block cleans up."""

    def exit_with(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    # Ignored signals stay ignored: `nohup` ignores SIGHUP.
    default_signals = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in default_signals:
        signal.signal(number, exit_with)
    try:
        yield
    finally:
        for number in default_signals:
            signal.signal(number, signal.SIG_DFL)
