"""`python -m musicgen_service`: see `cli`."""

from musicgen_service.cli import main

if __name__ == "__main__":
    main()
