"""Builds and tests the image without Docker: `make container`. See container.sh for the steps."""
