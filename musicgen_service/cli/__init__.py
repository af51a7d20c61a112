"""The command line: `python -m musicgen_service COMMAND`, one file for each command."""

from musicgen_service.cli.main import main as main
