"""Token generation. Works on tensors only and knows nothing about requests."""
