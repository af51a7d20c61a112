"""W3C Trace Context: a request belongs to the trace that its client names, or begins one.

Source: https://www.w3.org/TR/trace-context/
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rf"[ \t]*+(?:(?:{_KEY})={_VALUE})?[ \t]*+")
_MAX_MEMBERS = 32
_SAMPLED = 0x01


@dataclass(frozen=True)
class Trace:
    """The service's part in a trace.

    Attributes
    ----------
    trace_id : 32 hexadecimal digits, the same in every part
    span_id : 16 hexadecimal digits, of this part
    is_sampled : whether the client records it
    state : the client's `tracestate`; empty when there is none
    """

    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))
    is_sampled: bool = False
    state: str = ""

    @classmethod
    def of(cls, headers: Headers) -> "Trace":
        """The trace that the headers of a request name; a new one where they name none, or no valid one."""
        parents = headers.getlist("traceparent")
        found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
        # A later version may have more fields, this one has not.
        if found is None or (found[1] == "00" and found[5] is not None):
            return cls()
        is_sampled = bool(int(found[4], 16) & _SAMPLED)
        return cls(found[2], is_sampled=is_sampled, state=_state(",".join(headers.getlist("tracestate"))))

    @property
    def headers(self) -> Mapping[str, str]:
        """What names this part as the parent of what it asks others for."""
        parent = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"}
        return parent | ({"tracestate": self.state} if self.state else {})


def _state(text: str) -> str:
    """A `tracestate` as it came; empty when it is not valid."""
    members = text.split(",")
    is_valid = len(members) <= _MAX_MEMBERS and all(map(_MEMBER.fullmatch, members))
    return text if is_valid else ""
