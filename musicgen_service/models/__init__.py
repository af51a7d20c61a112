"""Checkpoints: catalogue, storage, loading, and the models themselves."""
