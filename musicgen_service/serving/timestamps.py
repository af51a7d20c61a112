"""Times as clients read them."""

from datetime import UTC, datetime


def text(seconds: float) -> str:
    """A time in seconds since the epoch, in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
