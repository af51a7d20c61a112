"""Key/value cache of all slots, in one preallocated buffer."""

from dataclasses import dataclass

import torch

SCALE = torch.float32
Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
_TINY = 1e-30
"""Lower bound of a scale, so that zeros are not divided by zero."""


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

    def bytes(self, dtype: torch.dtype) -> int:
        """Return how many bytes a cache of this shape takes."""
        stored = self.width * dtype.itemsize + (SCALE.itemsize if dtype is torch.int8 else 0)
        return 2 * self.layers * self.slots * self.rows * self.heads * self.capacity * stored


class KeyValueCache:
    """The keys and values that rows attend to, position by position.

    Those of 8 bits are multiples of a scale, of each head and position its own.

    Attributes
    ----------
    buffer : float or int8 [layers, slots, rows, 2 (keys, values), heads, capacity, width]
    scales : float32 [layers, slots, rows, 2, heads, capacity] of integers; of floats none, with a capacity of 0
    """

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        sizes = (shape.layers, shape.slots, shape.rows, 2, shape.heads, shape.capacity, shape.width)
        scales = (*sizes[:-2], shape.capacity if dtype is torch.int8 else 0)
        # On a GPU, masked positions are multiplied by zero, so they must not hold NaN. On a CPU, only written
        # positions are read, and the operating system commits no memory for pages that were never touched.
        allocate = torch.zeros if device.type == "cuda" else torch.empty
        self.shape = shape
        self.buffer = allocate(sizes, dtype=dtype, device=device)
        self.scales = allocate(scales, dtype=SCALE, device=device)

    def clear(self, slot: int) -> None:
        """Zero a slot; its previous sequence may have overflowed and left infinities or NaN."""
        self.buffer[:, slot] = 0

    def write(self, layer: int, slot: int, keys_values: torch.Tensor, first_row: int = 0, start: int = 0) -> None:
        """Write keys and values [rows, 2, heads, positions, width] to a slot, from `first_row` and `start` on."""
        rows, *_, positions, _ = keys_values.shape
        where = (
            layer,
            slot,
            slice(first_row, first_row + rows),
            slice(None),
            slice(None),
            slice(start, start + positions),
        )
        self._store(where, keys_values)

    def write_rows(self, layer: int, rows: Places, keys_values: torch.Tensor) -> None:
        """Write keys and values [rows, 2, heads, width] of rows: of each its slot, its row there, and its position."""
        slots, own_rows, positions = rows
        self._store((layer, slots, own_rows, slice(None), slice(None), positions), keys_values)

    def copy(self, source: int, target: int) -> None:
        """Copy a slot to another."""
        for stored in (self.buffer, self.scales):
            stored[:, target] = stored[:, source]

    def read(self, layer: int, slot: int, length: int, rows: slice) -> tuple[torch.Tensor, ...]:
        """Return the keys and the values [rows, heads, length, width] of a slot's first positions, as floats."""
        stored = self.buffer[layer, slot, rows, :, :, :length]
        if stored.dtype is torch.int8:
            stored = stored * self.scales[layer, slot, rows, :, :, :length, None]
        return stored.unbind(1)

    def _store(self, where: tuple[int | slice | torch.Tensor, ...], keys_values: torch.Tensor) -> None:
        if self.buffer.dtype is torch.int8:
            keys_values, self.scales[where] = quantised(keys_values)
        self.buffer[where] = keys_values.to(self.buffer.dtype)

    def views(
        self, slot: int, length: int, rows: slice = slice(None)
    ) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Return views of what `read` returns of floats, layer by layer."""
        keys, values = self.buffer[:, slot, rows, :, :, :length].unbind(2)
        return keys.unbind(0), values.unbind(0)

    def position_views(self, slot: int, position: int, rows: int) -> tuple[torch.Tensor, ...]:
        """Return writable views of the keys and values [rows, 2, heads, width] of a slot's position, per layer."""
        return self.buffer[:, slot, :rows, :, :, position].unbind(0)


def quantised(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors [..., width] as integers from -127 to 127 (as floats), and the scale of each, float32 [...]."""
    scale = (vectors.abs().amax(-1) / 127).clamp_min(_TINY).to(SCALE)
    return (vectors / scale[..., None]).round(), scale
