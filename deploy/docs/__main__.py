"""Build the site: `python -m deploy.docs [FOLDER]`, build/docs by default."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.docs.pages import gather
from musicgen_service.predictors import PROJECT

SOURCE = PROJECT / "build" / "docs-source"
"""The input of MkDocs: every page in its final form; also configured in mkdocs.yml."""


def main() -> None:
    """Gather the pages and build the site with MkDocs; exits with its status, which is 1 on any warning."""
    site = Path(sys.argv[1] if sys.argv[1:] else PROJECT / "build" / "docs").resolve()
    gather(SOURCE)
    # Material for MkDocs prints a notice of three paragraphs about MkDocs 2.0, which its version range excludes.
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "true"}
    # Without --quiet, under which warnings are neither shown nor counted.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "--site-dir", str(site)]
    sys.exit(subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
