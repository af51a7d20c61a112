"""The links of a chained Ogg file."""

import mmap
import re
from itertools import pairwise

MAGIC = b"OggS"
_PAGE = re.compile(rb"OggS\0(.)", re.DOTALL)
_BEGINS = 2
"""Of a page's flags: it is the first of its stream."""


def links(content: mmap.mmap) -> list[tuple[int, int]]:
    """Where each link begins and ends: a file of its own, with headers, sample rate and channels of its own.

    A link begins where streams begin and none just did; streams that are played together begin together. Most files
    have one link; recorded radio streams have one for each song (RFC 3533, section 4).
    """
    starts, begun = [], False
    for page in _PAGE.finditer(content):
        begins = bool(page[1][0] & _BEGINS)
        if begins and not begun:
            starts.append(page.start())
        begun = begins
    return list(pairwise([*starts, len(content)]))
