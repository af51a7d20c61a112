"""MusicGen as one service: text, melody, continuation and encode-decode from one request."""

__version__ = "0.1.0"
