"""Key/value cache of all slots, in one preallocated buffer."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a `KeyValueCache`."""

    layers: int
    slots: int
    rows: int
    """Rows per slot: the conditional row alone, or the conditional and then the unconditional row."""
    heads: int
    capacity: int
    """Maximum number of positions."""
    width: int
    """Dimensions per head."""


class KeyValueCache:
    """The keys and values that rows attend to, position by position.

    Attributes
    ----------
    buffer : float tensor [layers, slots, rows, 2 (keys, values), heads, capacity, width]
    """

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        sizes = (shape.layers, shape.slots, shape.rows, 2, shape.heads, shape.capacity, shape.width)
        # On a GPU, masked positions are multiplied by zero, so they must not hold NaN. On a CPU, only written
        # positions are read, and the operating system commits no memory for pages that were never touched.
        allocate = torch.zeros if device.type == "cuda" else torch.empty
        self.shape = shape
        self.buffer = allocate(sizes, dtype=dtype, device=device)

    def clear(self, slot: int) -> None:
        """Zero a slot; its previous sequence may have overflowed and left infinities or NaN."""
        self.buffer[:, slot] = 0

    def write(self, layer: int, slot: int, keys_values: torch.Tensor, first_row: int = 0, start: int = 0) -> None:
        """Write keys and values [rows, 2, heads, positions, width] to a slot, from `first_row` and `start` on."""
        rows, *_, positions, _ = keys_values.shape
        self.buffer[layer, slot, first_row : first_row + rows, :, :, start : start + positions] = keys_values

    def views(
        self, slot: int, length: int, rows: slice = slice(None)
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Return keys and values [rows, heads, length, width] of a slot's first positions, layer by layer."""
        keys, values = self.buffer[:, slot, rows, :, :, :length].unbind(2)
        return keys.unbind(0), values.unbind(0)

    def position_views(self, slot: int, position: int, rows: int) -> tuple[torch.Tensor, ...]:
        """Return writable views of the keys and values [rows, 2, heads, width] of a slot's position, per layer."""
        return self.buffer[:, slot, :rows, :, :, position].unbind(0)
