"""Decodes data URIs as browsers do: https://fetch.spec.whatwg.org/#data-url-processor, with its forgiving base64.

Beyond that, the URL-safe alphabet of base64 (`-` and `_`) is accepted too: it cannot mean anything else.
"""

import binascii
import re
from urllib.parse import unquote_to_bytes

_MAX_HEAD = 1024
"""Maximum characters before the comma: a media type with its parameters."""
_PIECE = 65_536
"""Bytes whose escapes are decoded at a time, which takes twenty times their memory."""
_SPACE = b" \t\n\f\r"
_LINE_BREAKS = b"\t\n\r"
_BASE64 = re.compile(r"; *base64", re.IGNORECASE)
_FOREIGN = re.compile(rb"[^A-Za-z0-9+/_=\- \t\n\f\r-]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class DataUriError(ValueError):
    """A data URI is malformed; the message says why in one sentence."""


def decode(address: str) -> bytes:
    """Decode the data in a data URI.

    Raises
    ------
    DataUriError
        When it is malformed; the message says what is wrong, and where.
    """
    comma = address.find(",", 0, _MAX_HEAD + 1)
    if comma < 0:
        within = "" if len(address) <= _MAX_HEAD else f" among its first {_MAX_HEAD:,} characters"
        raise DataUriError(f"the data URI has no comma before its data{within}.")
    end = address.find("#", comma)
    body = address[comma + 1 : None if end < 0 else end].encode().translate(None, _LINE_BREAKS)
    head = address[:comma].strip(" \t\n\f\r")
    marks = list(_BASE64.finditer(head))
    if marks and marks[-1].end() == len(head):
        content = _decode_base64(_unquoted(body))
    elif any(head[mark.end()] in ";=" for mark in marks):
        raise DataUriError("the data URI has ';base64' elsewhere than just before its comma.")
    else:
        content = _unquoted(body)
    if not content:
        raise DataUriError("the data URI holds no data.")
    return content


def _unquoted(data: bytes) -> bytes:
    """Decode percent escapes."""
    if b"%" not in data:
        return data
    found, start = bytearray(), 0
    while start < len(data):
        end = start + _PIECE
        if (cut := data.rfind(b"%", end - 2, end)) >= 0:  # an escape stays whole
            end = cut
        found += unquote_to_bytes(data[start:end])
        start = end
    return bytes(found)


def _decode_base64(data: bytes) -> bytes:
    if foreign := _FOREIGN.search(data):
        character = data[foreign.start() : foreign.start() + 4].decode(errors="replace")[0]
        shown = f"'{character}'" if character.isprintable() and character != "\ufffd" else f"byte {foreign[0][0]}"
        raise DataUriError(f"the data URI is not valid base64: {shown} at character {foreign.start() + 1} of its data.")
    digits = data.translate(_URL_SAFE, _SPACE).rstrip(b"=")
    if (padding := digits.find(b"=")) >= 0:
        raise DataUriError(f"the data URI is not valid base64: it goes on after the '=' at character {padding + 1}.")
    if len(digits) % 4 == 1:
        raise DataUriError(
            f"the data URI is not valid base64: its {len(digits)} characters are one more than whole bytes take, "
            "so some are missing or left over."
        )
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
