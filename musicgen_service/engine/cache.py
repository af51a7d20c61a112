"""Keys and values of every slot, in one buffer that stays where it is."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CacheShape:
    """Sizes of a `KeyValueCache`."""

    layers: int
    slots: int
    rows: int
    """Rows per slot: the conditional one alone, or the unconditional one after it."""
    heads: int
    capacity: int
    """Positions that fit."""
    width: int
    """Numbers per head."""


class KeyValueCache:
    """What rows attend to, position by position.

    Attributes
    ----------
    buffer : float tensor [layers, slots, rows, 2 (keys, values), heads, capacity, width]
    """

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        sizes = (shape.layers, shape.slots, shape.rows, 2, shape.heads, shape.capacity, shape.width)
        # A GPU multiplies what a mask hides by zero, so that must be a number. A CPU reads only what was
        # written, and memory that nothing touched is not even taken.
        make = torch.zeros if device.type == "cuda" else torch.empty
        self.shape = shape
        self.buffer = make(sizes, dtype=dtype, device=device)

    def clear(self, slot: int) -> None:
        """Make numbers again of whatever a slot's last sequence left, which may have overflowed."""
        self.buffer[:, slot] = 0

    def write(self, layer: int, slot: int, keys_values: torch.Tensor, first_row: int = 0) -> None:
        """Write keys and values [rows, 2, heads, positions, width] to the start of a slot's rows, `first_row` on."""
        rows, *_, positions, _ = keys_values.shape
        self.buffer[layer, slot, first_row : first_row + rows, :, :, :positions] = keys_values

    def views(
        self, slot: int, length: int, rows: slice = slice(None)
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Keys and values [rows, heads, length, width] of a slot's first positions, layer by layer."""
        keys, values = self.buffer[:, slot, rows, :, :, :length].unbind(2)
        return keys.unbind(0), values.unbind(0)

    def position_views(self, slot: int, position: int) -> tuple[torch.Tensor, ...]:
        """A slot's keys and values [rows, 2, heads, width] at one position, layer by layer, to be written."""
        return self.buffer[:, slot, :, :, :, position].unbind(0)
