"""The `batch` command: carries out a list of requests, here or on a server, and goes on where it stopped."""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_service import __version__, home, predictors
from musicgen_service.cli import inputs
from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.files import readable_file, readable_text, writable_folder
from musicgen_service.cli.parser import Parser
from musicgen_service.cli.predict import system_in, systems_option
from musicgen_service.progress import log

if TYPE_CHECKING:
    from musicgen_service.batch.client import Client
    from musicgen_service.batch.items import Item
    from musicgen_service.batch.manifest import Shard, State

_GOES_ON = "the same command goes on from there"
_MAX_COUNT = 1_000_000
_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


def add_arguments(parser: Parser, words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    from musicgen_service.requests.signature import declared_fields

    parser.epilog = f"For example: {parser.prog} requests.jsonl clips/ --set duration=10 --set output_format=mp3"
    parser.add_argument("list", metavar="LIST", help="requests: .jsonl, .csv with a header, or .txt with prompts")
    parser.add_argument("folder", metavar="FOLDER", help="where the clips and their manifest go")
    pairs = parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="an input of every request")
    fields = declared_fields(type(predictors.load(system_in(words))).run)
    pairs.completer = inputs.PairCompleter(fields)  # type: ignore[attr-defined]
    parser.add_argument("--server", metavar="URL", help="have a server make the clips (default: this process)")
    parser.add_argument("--key", metavar="KEY", help="an API key of the server; @FILE reads it from a file")
    at_once = "requests at a time (default: 8; in this process on a GPU: 32)"
    parser.add_argument("--at-once", type=_count("--at-once"), metavar="N", help=at_once)
    parser.add_argument("--shard", type=_shard, metavar="K/N", help="make part K of N; other processes make the rest")
    parser.add_argument("--limit", type=_count("--limit"), metavar="N", help="make N requests and stop")
    parser.add_argument("--retry-failed", action="store_true", help="also make what failed before")
    parser.add_argument("--no-analysis", action="store_true", help="do not listen for tempo and key")
    parser.add_argument("--dry-run", action="store_true", help="print what there is to do and how long it may take")
    parser.add_argument("--as", **systems_option())
    parser.set_defaults(run=run, fields=fields)


def run(options: argparse.Namespace) -> None:
    """Carry out what is left of the list; problems in it are all reported before anything is made."""
    from musicgen_service.batch.manifest import Shard, read_state

    path = readable_file(options.list)
    folder = home.expanded(options.folder)
    shard = Shard(*(options.shard or (1, 1)))
    if options.key and not options.server:
        raise UsageError("--key is for a server: give its address with --server.")
    options.key = _key(options.key)
    if options.server and not re.match(r"https?://[^/]", options.server):
        raise UsageError(f"--server must be an address such as http://localhost:5000, not '{options.server}'.")
    items = _items(options, path)
    from musicgen_service.batch.items import by_model, shard_of

    items = shard_of(items, shard.number, shard.count)
    state = read_state(folder)
    skipped = state.made if options.retry_failed else state.made | state.failed
    left = by_model(item for item in items if item.name not in skipped)[: options.limit]
    failed = len(state.failed & ({item.name for item in items} - {item.name for item in left}))
    print(_overview(items, left, state, failed))
    if options.dry_run:
        if left:
            print(_estimate(options, left, state))
        return
    if left:
        failed += _make(options, left, folder, shard)
    if failed:
        listed = f"the manifest in {folder} says why, and --retry-failed tries them again"
        raise CommandError(f"{failed} of {len(items)} requests have failed: {listed}.")


def _items(options: argparse.Namespace, path: Path) -> "list[Item]":
    """The requests of the list; reports what is wrong with it."""
    from musicgen_service.batch import lists
    from musicgen_service.batch.items import Preparation
    from musicgen_service.models.adapters import AdapterStore
    from musicgen_service.models.store import WeightStore

    if path.suffix.lower() not in lists.FORMATS:
        raise UsageError(f"The name of a list must end in {', '.join(lists.FORMATS)}, unlike '{path.name}'.")
    settings = inputs.parse(options.set or [], options.fields, "--set")
    entries, problems = lists.read(path, options.fields)
    store = None if options.server else WeightStore.from_environment()
    predictor = predictors.load(options.system)
    field = predictor.names.get("adapter", "adapter")
    names_adapters = field in settings or any(field in entry.inputs for entry in entries)
    if store is None:
        version, summaries = _ask_server(options, names_adapters)
    else:
        version, summaries = __version__, AdapterStore.of(store).summaries() if names_adapters else None
    adapters = None if summaries is None else {summary["name"]: summary for summary in summaries}
    present = None if store is None else store.present()
    items, more = Preparation(predictor, present, version, adapters).items(entries, settings)
    _refuse(path, [*problems, *more])
    if not items:
        raise UsageError(f"There is no request in {path}.")
    return items


def _ask_server(options: argparse.Namespace, names_adapters: bool) -> tuple[str, list[dict[str, Any]] | None]:
    """The server's version, and summaries of its adapters where they are named and it tells them."""
    from musicgen_service.batch.remote import RemoteClient

    async def ask() -> tuple[str, list[dict[str, Any]] | None]:
        async with RemoteClient(options.server, options.key) as client:
            return await client.version(), await client.adapters() if names_adapters else None

    return asyncio.run(ask())


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if not problems:
        return
    for problem in sorted(problems, key=lambda text: int(text.removeprefix("line ").partition(":")[0])):
        print(problem, file=sys.stderr)
    count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
    raise UsageError(f"{path} has {count}, named above, so nothing was made.")


def _overview(items: "Sequence[Item]", left: "Sequence[Item]", state: "State", failed: int) -> str:
    made = sum(item.name in state.made for item in items)
    seconds = sum(item.seconds for item in left)
    failures = f"{failed} failed before, " if failed else ""
    count = f"{len(items)} request{'s' if len(items) > 1 else ''}"
    return f"{count}: {made} made, {failures}{len(left)} to make, {seconds:.0f} s of audio"


def _client(options: argparse.Namespace, model: str) -> "Client":
    if options.server:
        from musicgen_service.batch.remote import RemoteClient

        return RemoteClient(options.server, options.key, options.at_once)
    from musicgen_service.batch.local import LocalClient

    return LocalClient(predictors.load(options.system), model, options.at_once)


def _key(text: str | None) -> str | None:
    return readable_text(text[1:], "--key").strip() if text and text.startswith("@") else text


def _estimate(options: argparse.Namespace, left: "Sequence[Item]", state: "State") -> str:
    """How long it may take, by what was made before, or else by a few clips that are made and thrown away."""
    from musicgen_service.progress import in_words

    async def measure() -> float | None:
        async with _client(options, left[0].model) as client:
            return await client.rate(left)

    rate = state.seconds_per_second or asyncio.run(measure())
    if rate is None:
        return "how long it takes shows after the first clips: --limit 8 makes some"
    seconds = sum(item.seconds for item in left)
    return f"about {in_words(seconds / rate)} at {rate:.2f} s of audio per second"


def _make(options: argparse.Namespace, left: "Sequence[Item]", folder: Path, shard: "Shard") -> int:
    """Make the clips; returns how many requests failed."""
    from musicgen_service.batch.clips import Describer
    from musicgen_service.batch.errors import BatchError
    from musicgen_service.batch.manifest import Manifest, read_state
    from musicgen_service.batch.progress import BatchProgress
    from musicgen_service.batch.run import Batch, ended_by_signals

    async def work() -> None:
        with ended_by_signals():
            async with _client(options, left[0].model) as client:
                problems = [f"line {item.line}: {problem}" for item in left for problem in client.problems(item)]
                _refuse(Path(options.list), problems)
                batch = Batch(folder, shard, manifest, Describer(listens=not options.no_analysis))
                await batch.run(left, client, progress)

    with ExitStack() as stack:
        stack.enter_context(writable_folder(folder))
        manifest = Manifest(folder, shard)
        stack.callback(manifest.close)
        # What another process made until a moment ago is listed now.
        made = read_state(folder).made
        left = [item for item in left if item.name not in made]
        progress = BatchProgress(len(left), sum(item.seconds for item in left))
        stack.callback(progress.close)
        try:
            if left:
                asyncio.run(work())
        except (KeyboardInterrupt, SystemExit):
            progress.close()
            log(f"stopped after {progress.made} of {len(left)}: {_GOES_ON}")
            raise
        except (BatchError, OSError) as error:
            progress.close()
            sentence = f"{error.filename or folder}: {error.strerror}." if isinstance(error, OSError) else str(error)
            raise CommandError(f"{sentence} {progress.made} of {len(left)} are made; {_GOES_ON}.") from None
    print(f"made {progress.made} of {len(left)} in {folder}")
    return progress.failed


def _count(option: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_COUNT):
            raise UsageError(f"{option} must be a whole number from 1 to {_MAX_COUNT}, not '{text}'.")
        return int(text)

    return parse


def _shard(text: str) -> tuple[int, int]:
    match = _SHARD.fullmatch(text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard must be a part and the number of parts, such as 2/8, not '{text}'.")
    return int(match[1]), int(match[2])
