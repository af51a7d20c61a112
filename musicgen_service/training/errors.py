"""The error that ends a training."""


class TrainingError(RuntimeError):
    """A training cannot start or go on; the message is one sentence that says what to do."""
