"""The image built and tried without Docker: `make container`. container.sh says how, step by step."""
