"""Errors of a batch."""


class BatchError(RuntimeError):
    """The batch cannot go on; the message is one sentence. What is listed in its manifest stays."""


class RequestFailed(Exception):
    """One request of a batch failed, and the others go on; the message is for its line of the manifest."""
