"""Structure of Ogg files (RFC 3533): pages, and the links of a chained file, each a complete stream of its own."""

import mmap
import re
from itertools import pairwise

MAGIC = b"OggS"
_PAGE = re.compile(rb"OggS\0(.)(.{8})", re.DOTALL)
"""Start of a page: its flags, and its granule position (the number of samples that end with it)."""
_FIRST_PAGE = 2
"""Page flag: the first page of its stream."""
_NO_SAMPLES = (bytes(8), b"\xff" * 8)
"""Granule positions of a header page, and of a page on which no packet ends."""


def links(content: mmap.mmap) -> list[tuple[int, int]]:
    """Find the start and end of each link; each has its own headers, sample rate and channels.

    A link begins at the first page of a stream whose preceding page is not one too, because streams that are played
    together begin together. Most files have one link; recorded radio streams have one for each song.
    """
    starts, previous_is_first = [], False
    for page in _PAGE.finditer(content):
        is_first = bool(page[1][0] & _FIRST_PAGE)
        if is_first and not previous_is_first:
            starts.append(page.start())
        previous_is_first = is_first
    return list(pairwise([*starts, len(content)]))


def has_one_page_of_sound(content: mmap.mmap) -> bool:
    """Whether a file has all of its sound in a single page."""
    with_sound = (page for page in _PAGE.finditer(content) if page[2] not in _NO_SAMPLES)
    return next(with_sound, None) is not None and next(with_sound, None) is None
