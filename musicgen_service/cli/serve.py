"""The `serve` command: answers HTTP requests."""

import argparse
from collections.abc import Sequence

from musicgen_service.cli.errors import CommandError, UsageError
from musicgen_service.cli.parser import Parser
from musicgen_service.cli.predict import systems_option

_MAX_PORT = 65535


def add_arguments(parser: Parser, _words: Sequence[str]) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, metavar="N", help="the port to listen on (default: $PORT, or else 5000)")
    parser.add_argument("--as", **systems_option())
    parser.add_argument("--upload-url", metavar="URL", help="put the files of results below this address, by HTTP")
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond this machine without API keys",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve until a signal stops it."""
    from musicgen_service import settings
    from musicgen_service.serving.cog_server import ServeError, serve

    port = options.port if options.port is not None else settings.load().port
    try:
        serve(options.host, port, options.system, insecure=options.insecure, upload_url=options.upload_url)
    except ServeError as error:
        raise CommandError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_PORT):
        raise UsageError(f"--port must be a whole number from 0 to {_MAX_PORT}, not '{text}'.")
    return int(text)
