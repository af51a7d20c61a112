"""How many samples at the end of an mp3 are no part of its sound, which its first frame tells decoders.

ffmpeg counts up to 46 too few for one length in 25, so that decoders play as many more.

Layout: that of the `Info` tag with the extension of LAME, http://gabriel.mp3-tech.org/mp3infotag.html.
"""

from pathlib import Path

MOST = 46
"""Samples that ffmpeg counts too few at most."""
_HEAD = 262_144
"""Bytes of a file in which its first frame is, after an ID3 tag, whose recipe has at most 40 kB of text."""
_FIELDS = ((1, 4), (2, 4), (4, 100), (8, 4))
"""Bit of the flags, and size in bytes, of each field that may stand before the extension."""
_COUNTS_AT = 21
"""Offset in the extension of delay and padding, of 12 bits each."""
_CRC_AT = 34
"""Offset in the extension of the checksum of all of the frame before it."""


def add(path: Path, samples: int) -> None:
    """Add to the padding of a complete mp3 that ffmpeg wrote, which is less than 4096 samples."""
    with path.open("r+b") as file:
        head = bytearray(file.read(_HEAD))
        begin = _id3_size(head)
        tag = head.index(b"Info", begin)
        frame = head.rindex(b"\xff", begin, tag)
        flags = int.from_bytes(head[tag + 4 : tag + 8], "big")
        extension = tag + 8 + sum(size for bit, size in _FIELDS if flags & bit)
        counts, crc = extension + _COUNTS_AT, extension + _CRC_AT
        # The padding is in the lower bits.
        head[counts : counts + 3] = (int.from_bytes(head[counts : counts + 3], "big") + samples).to_bytes(3, "big")
        head[crc : crc + 2] = _crc16(head[frame:crc]).to_bytes(2, "big")
        file.seek(0)
        file.write(head)


def _id3_size(head: bytearray) -> int:
    """Bytes of the ID3v2 tag that a file begins with."""
    if head[:3] != b"ID3":
        return 0
    return 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(head[6:10]))


def _crc16(content: bytearray) -> int:
    """CRC-16 (ARC) of bytes."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
