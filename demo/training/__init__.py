"""The training of the shipped demo checkpoint: codec, language model, export."""
