"""Checkpoints: which there are, where they lie, how they load."""
