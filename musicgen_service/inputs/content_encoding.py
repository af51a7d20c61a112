"""Decompression of HTTP bodies, chunk by chunk, with a limit on the decompressed size."""

import zlib
from collections.abc import Callable, Iterator

_CHUNK_SIZE = 65_536
_GZIP = b"\x1f"
"""First byte of a gzip stream."""
_MAX_CODINGS = 3
_IDENTITY = frozenset(["", "identity", "none", "binary", "utf-8", "8bit", "aws-chunked"])
"""Values for an unencoded body, by the standard or by common mistake."""


class ContentError(ValueError):
    """A body cannot be decoded; the message says why in one sentence."""


def decode(chunks: Iterator[bytes], header: str, limit: int) -> Iterator[bytes]:
    """Decode a body.

    Parameters
    ----------
    chunks : of the encoded body
    header : Content-Encoding, such as "gzip" or "deflate, gzip"
    limit : maximum bytes after each decoding step

    Raises
    ------
    ContentError
        For an unknown coding, and for a body that is damaged, ends early or is larger than the limit.
    """
    codings = [coding for name in header.lower().split(",") if (coding := name.strip()) not in _IDENTITY]
    if len(codings) > _MAX_CODINGS:
        raise ContentError(f"the server compressed it more than {_MAX_CODINGS} times.")
    for coding in reversed(codings):
        if coding not in _DECODERS:
            raise ContentError(f"the server sent it in the encoding '{coding[:30]}'; {', '.join(_DECODERS)} are known.")
        chunks = _DECODERS[coding](chunks, limit)
    return chunks


def too_large(limit: int) -> str:
    """The error message for a file of more than `limit` bytes."""
    return f"the file is larger than {limit >> 20} MiB."


def _inflate(chunks: Iterator[bytes], limit: int, coding: str, start: Callable[[bytes], int]) -> Iterator[bytes]:
    """Decompress one zlib stream, or several in sequence; trailing data is ignored.

    Parameters
    ----------
    start : returns zlib's `wbits` for the first bytes of a stream
    """
    stream = None
    size = complete = 0
    for chunk in chunks:
        while chunk or stream is not None:
            if stream is None:
                if complete and not chunk.startswith(_GZIP):
                    return
                stream = zlib.decompressobj(start(chunk))
            try:
                content = stream.decompress(chunk, _CHUNK_SIZE)
            except zlib.error:
                raise ContentError(f"the {coding} data that the server sent is damaged.") from None
            size += len(content)
            if size > limit:
                raise ContentError(too_large(limit))
            yield content
            chunk = stream.unused_data if stream.eof else stream.unconsumed_tail
            if stream.eof:
                stream = None
                complete += 1
            elif len(content) < _CHUNK_SIZE:
                break  # these bytes are used up
    if stream is not None or not complete:
        raise ContentError(f"the transfer broke off: the {coding} data ends early.")


def _decode_gzip(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    return _inflate(chunks, limit, "gzip", lambda _: 16 + zlib.MAX_WBITS)


def _decode_deflate(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    # "deflate" is a zlib stream by RFC 9110, and a raw one by servers that took the name literally. A zlib stream's
    # first byte says method 8 and a window of at most 32 KiB.
    def start(chunk: bytes) -> int:
        is_zlib = chunk[0] & 0x0F == 8 and chunk[0] >> 4 <= 7
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS

    return _inflate(chunks, limit, "deflate", start)


_DECODERS: dict[str, Callable[[Iterator[bytes], int], Iterator[bytes]]] = {
    "gzip": _decode_gzip,
    "x-gzip": _decode_gzip,
    "deflate": _decode_deflate,
}
