"""What an Ogg file consists of (RFC 3533): pages, and links, which are what is a file of its own in a chained one."""

import mmap
import re
from itertools import pairwise

MAGIC = b"OggS"
_PAGE = re.compile(rb"OggS\0(.)(.{8})", re.DOTALL)
"""How a page begins: its flags, and how many samples have ended when it ends."""
_BEGINS = 2
"""Of a page's flags: it is the first of its stream."""
_NO_SAMPLES = (bytes(8), b"\xff" * 8)
"""A page of headers, and one that is all within one packet."""


def links(content: mmap.mmap) -> list[tuple[int, int]]:
    """Where each link begins and ends; each has its own headers, sample rate and channels.

    A link begins where streams begin and none just did: streams that are played together begin together. Most files
    have one link; recorded radio streams have one for each song.
    """
    starts, begun = [], False
    for page in _PAGE.finditer(content):
        begins = bool(page[1][0] & _BEGINS)
        if begins and not begun:
            starts.append(page.start())
        begun = begins
    return list(pairwise([*starts, len(content)]))


def has_one_page_of_sound(content: mmap.mmap) -> bool:
    """Whether all its sound is in a single page."""
    with_sound = (page for page in _PAGE.finditer(content) if page[2] not in _NO_SAMPLES)
    return next(with_sound, None) is not None and next(with_sound, None) is None
