"""`python -m musicgen_service`: see `cli`."""
# PYTHON_ARGCOMPLETE_OK: where argcomplete is active for all commands, it completes this one, too.

from musicgen_service.cli import main

if __name__ == "__main__":
    main()
