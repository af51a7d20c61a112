"""Fetching and decoding of the files that clients name."""
