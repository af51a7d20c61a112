"""The documentation site: `python -m deploy.docs` builds it from the repository's Markdown."""
