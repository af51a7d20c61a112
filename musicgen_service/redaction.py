"""Removes folder names from texts for clients."""

import re

_FOLDERS = re.compile(
    r"""
    (?<![\w./<\])+-])               # not inside a word, a relative path or an http address
    (?:file:(?://[^/\s'"]*)?)?
    /(?=[\w.~@%])
    (?:(?:(?!\.[a-z]\w*\s)[^/'":;,()\n])+/)*  # folders may have spaces; after a name with an extension prose goes on
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Matches all but the last component of an absolute path or a `file:` URL."""


def without_folders(text: str) -> str:
    """Reduce every absolute path and `file:` URL in a text to its last component."""
    return _FOLDERS.sub("", text)
