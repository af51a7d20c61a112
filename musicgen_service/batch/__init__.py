"""Batches: thousands of requests from a list, here or on a server, which go on where they stopped."""
