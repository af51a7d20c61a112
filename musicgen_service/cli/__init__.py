"""The command line: `python -m musicgen_service COMMAND`, one module per command."""

from musicgen_service.cli.main import main as main
