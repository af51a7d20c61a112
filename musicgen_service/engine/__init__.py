"""Token generation: tensors only, nothing of requests."""
