"""Music made to order with exact labels, and the training of the shipped demo checkpoint on it."""
