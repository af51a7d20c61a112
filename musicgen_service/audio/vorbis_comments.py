"""Vorbis comments that libsndfile does not write, in the place of one that it does, in flac and ogg files.

The file keeps its size, so that nothing after its header changes. Layouts: Vorbis I specification, section 5; RFC 9639,
section 8.6 (flac); RFC 3533 (ogg), a page of which has a checksum.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

_FIELD = "DATE"
_FILLER = "\x01"
"""No text of ours has it: JSON escapes it, and titles are printable."""
_HEAD = 2**17
"""Bytes at the beginning of a file that hold the first page with comments."""
_OGG, _OGG_COMMENTS, _FLAC_COMMENTS = b"OggS", b"\x03vorbis", 4
_CHECKSUM = 22
"""Offset of the checksum in an ogg page."""
_POLYNOMIAL = 0x04C11DB7


def placeholder(comments: Sequence[str]) -> str:
    """The text that libsndfile must write as the date, for `fill` to put comments in its place."""
    return _FILLER * (len(_entries(comments)) - len(_entry(f"{_FIELD}=")))


def fill(path: Path, comments: Sequence[str]) -> None:
    """Put comments in the place of the placeholder for them, which must be the first of the texts in the file.

    Raises
    ------
    OSError
        When the placeholder is not there.
    """
    entries, old = _entries(comments), _entry(f"{_FIELD}={placeholder(comments)}")
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD))
        place = head.lower().find(old.lower())  # in flac, libsndfile writes names in lower case
        if place < 0:  # on a full disk
            raise OSError("its tags did not arrive whole")
        head[place : place + len(old)] = entries
        count = _place_of_count(head)
        [number] = struct.unpack_from("<I", head, count)
        struct.pack_into("<I", head, count, number - 1 + len(comments))
        if head.startswith(_OGG):
            _renew_checksum(head, head.rindex(_OGG, 0, place))
        file.seek(0)
        file.write(head)


def _place_of_count(head: bytearray) -> int:
    """Where the number of comments stands: after the name of the encoder, which has its length before it."""
    if head.startswith(_OGG):
        place = head.index(_OGG_COMMENTS) + len(_OGG_COMMENTS)
    else:
        place = 4
        while head[place] & 0x7F != _FLAC_COMMENTS:
            place += 4 + int.from_bytes(head[place + 1 : place + 4], "big")
        place += 4
    return place + 4 + int(struct.unpack_from("<I", head, place)[0])


def _renew_checksum(head: bytearray, page: int) -> None:
    segments = head[page + 26]
    end = page + 27 + segments + sum(head[page + 27 : page + 27 + segments])
    struct.pack_into("<I", head, page + _CHECKSUM, 0)
    struct.pack_into("<I", head, page + _CHECKSUM, _crc(head[page:end]))


def _crc(content: bytearray) -> int:
    """The checksum of ogg: CRC-32 from the highest bit on, beginning with zero."""
    checksum = 0
    for byte in content:
        checksum = ((checksum << 8) & 0xFFFFFFFF) ^ _TABLE[(checksum >> 24) ^ byte]
    return checksum


def _remainder(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = ((value << 1) & 0xFFFFFFFF) ^ (_POLYNOMIAL if value >> 31 else 0)
    return value


_TABLE = [_remainder(byte) for byte in range(256)]


def _entries(comments: Sequence[str]) -> bytes:
    return b"".join(map(_entry, comments))


def _entry(comment: str) -> bytes:
    content = comment.encode()
    return struct.pack("<I", len(content)) + content
