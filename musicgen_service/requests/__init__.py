"""Validation of requests: inputs, rules between inputs, and what each task requires. Nothing here reads a file."""
