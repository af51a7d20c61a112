"""Takes the compression off a body that a web server compressed, in pieces and up to a size."""

import zlib
from collections.abc import Callable, Iterator

_PIECE = 65_536
_GZIP = b"\x1f"
"""What a gzip stream begins with."""
_MOST_CODINGS = 3
_NONE = frozenset(["", "identity", "none", "binary", "utf-8", "8bit", "aws-chunked"])
"""What servers say of a body that is as it is, by the standard or by mistake."""


class ContentError(ValueError):
    """A body that cannot be decoded, in one sentence."""


def decoded(pieces: Iterator[bytes], header: str, limit: int) -> Iterator[bytes]:
    """The body without its codings.

    Parameters
    ----------
    pieces : of the body, as it comes
    header : Content-Encoding, such as "gzip" or "deflate, gzip"
    limit : bytes that a coding may give

    Raises
    ------
    ContentError
        For a coding that is not known, and for a body that is damaged, ends early or is larger than the limit.
    """
    codings = [coding for name in header.lower().split(",") if (coding := name.strip()) not in _NONE]
    if len(codings) > _MOST_CODINGS:
        raise ContentError(f"the server compressed it more than {_MOST_CODINGS} times.")
    for coding in reversed(codings):
        if coding not in _DECODERS:
            raise ContentError(f"the server sent it in the encoding '{coding[:30]}'; {', '.join(_DECODERS)} are known.")
        pieces = _DECODERS[coding](pieces, limit)
    return pieces


def too_large(limit: int) -> str:
    """What to say of a file of more than `limit` bytes."""
    return f"the file is larger than {limit >> 20} MiB."


def _inflated(pieces: Iterator[bytes], limit: int, coding: str, start: Callable[[bytes], int]) -> Iterator[bytes]:
    """What a zlib stream gives, or several one after another; what follows the last one is left out.

    Parameters
    ----------
    start : from the first bytes of a stream the kind of stream, as zlib's `wbits`
    """
    stream = None
    given = complete = 0
    for piece in pieces:
        while piece or stream is not None:
            if stream is None:
                if complete and not piece.startswith(_GZIP):
                    return
                stream = zlib.decompressobj(start(piece))
            try:
                content = stream.decompress(piece, _PIECE)
            except zlib.error:
                raise ContentError(f"the {coding} data that the server sent is damaged.") from None
            given += len(content)
            if given > limit:
                raise ContentError(too_large(limit))
            yield content
            piece = stream.unused_data if stream.eof else stream.unconsumed_tail
            if stream.eof:
                stream = None
                complete += 1
            elif len(content) < _PIECE:
                break  # it has given all that there is for these bytes
    if stream is not None or not complete:
        raise ContentError(f"the transfer broke off: the {coding} data ends early.")


def _gunzipped(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    return _inflated(pieces, limit, "gzip", lambda _: 16 + zlib.MAX_WBITS)


def _undeflated(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    # "deflate" is a zlib stream by RFC 9110, and a raw one by the servers that took it at its word. A zlib stream's
    # first byte says method 8 and a window of at most 32 KiB.
    def start(piece: bytes) -> int:
        is_zlib = piece[0] & 0x0F == 8 and piece[0] >> 4 <= 7
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS

    return _inflated(pieces, limit, "deflate", start)


_DECODERS: dict[str, Callable[[Iterator[bytes], int], Iterator[bytes]]] = {
    "gzip": _gunzipped,
    "x-gzip": _gunzipped,
    "deflate": _undeflated,
}
