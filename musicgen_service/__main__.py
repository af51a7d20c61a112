"""`python -m musicgen_service`: see `cli`."""
# PYTHON_ARGCOMPLETE_OK: enables completion where argcomplete is active globally.

from musicgen_service.cli import main

if __name__ == "__main__":
    main()
