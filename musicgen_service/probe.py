"""Probe for orchestrators: `python -m musicgen_service.probe ready | live` exits with 0 when the server is.

Cog's `/health-check` answers 200 whatever the status, so a probe must read the body. A busy server counts as ready:
predictions wait for their turn.
"""

import json
import sys
import urllib.request

from musicgen_service import settings

_READY = ("READY", "BUSY")
_NOT_LIVE = ("UNHEALTHY", "DEFUNCT", "SETUP_FAILED")


def main() -> None:
    """Query the server on this machine at `PORT`; exits with 1 and the reason when the check fails."""
    try:
        port = settings.load().port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health-check", timeout=12) as reply:
            status = str(json.load(reply)["status"])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"no answer: {error}")
    is_healthy = status not in _NOT_LIVE if sys.argv[1:] == ["live"] else status in _READY
    print(status)
    sys.exit(0 if is_healthy else 1)


if __name__ == "__main__":
    main()
