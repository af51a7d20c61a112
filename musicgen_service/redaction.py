"""What a client need not know of a text: in which folders things are."""

import re

_FOLDERS = re.compile(
    r"""
    (?<![\w./<\])+-])               # not in the midst of a word, a relative path or an http address
    (?:file:(?://[^/\s'"]*)?)?
    /(?=[\w.~@%])
    (?:(?:(?!\.[a-z]\w*\s)[^/'":;,()\n])+/)*  # folders may have spaces; after a name with an extension prose goes on
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Of an absolute path or a `file:` URL all but the last name."""


def without_folders(text: str) -> str:
    """The text with the last name alone of every absolute path and `file:` URL."""
    return _FOLDERS.sub("", text)
