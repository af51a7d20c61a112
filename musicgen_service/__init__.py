"""MusicGen as one service: text, melody, continuation and encode-decode from one request."""

from musicgen_service.threads import set_wait_policy

__version__ = "0.1.0"

# Every way in comes through here, and mostly before torch is loaded, which is when OpenMP reads it.
set_wait_policy()
