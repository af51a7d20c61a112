"""Low-rank adapters (LoRA, arXiv:2106.09685) in PEFT's format, added to the weights of a checkpoint."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch.nn import functional

from musicgen_service.engine.low_rank import Changes, LowRank
from musicgen_service.models import transformers_names
from musicgen_service.models.lora_options import WEIGHTS_FILE, LoraError, LoraOptions
from musicgen_service.models.state import Adapt

_PREFIX = "base_model.model."
_TENSOR = re.compile(
    re.escape(_PREFIX) + r"(?P<module>.+)\.(?P<what>lora_A|lora_B|lora_embedding_A|lora_embedding_B)(?:\.weight)?"
)
_ROLES = {
    "lora_A": ("down", False),
    "lora_B": ("up", False),
    # An embedding is looked up by row: its weight is the product transposed.
    "lora_embedding_A": ("up", True),
    "lora_embedding_B": ("down", True),
}
"""Which matrix of a product a tensor is, and whether it is stored transposed."""


@dataclass(frozen=True)
class _Product:
    """`scale * up @ down`, added to a third of a tensor's rows, or to all of them.

    Attributes
    ----------
    down, up : float [rank, inputs] and [outputs, rank]
    """

    third: int | None
    down: torch.Tensor
    up: torch.Tensor
    scale: float

    def whole(self, strength: float) -> LowRank:
        """What it adds to the whole tensor, times `strength`."""
        up = self.up * (strength * self.scale)
        if self.third is not None:
            rows = up.shape[0]
            up = functional.pad(up, (0, 0, self.third * rows, (2 - self.third) * rows))
        return LowRank(self.down, up)


class Lora:
    """What one adapter adds to the tensors of a checkpoint.

    Parameters
    ----------
    folder : with `adapter_config.json` and `adapter_model.safetensors`

    Raises
    ------
    LoraError
        When a file is missing or damaged, or holds what audiocraft's language model does not have.

    Attributes
    ----------
    sha256 : of the weights that were read, in hexadecimal
    """

    def __init__(self, folder: Path) -> None:
        options = LoraOptions.read(folder)
        try:
            content = (folder / WEIGHTS_FILE).read_bytes()
        except OSError as error:
            raise LoraError(f"{WEIGHTS_FILE}: {error.strerror}") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._products: dict[str, list[_Product]] = defaultdict(list)
        for module, pair in _read(content).items():
            down, up = pair["down"], pair["up"]
            if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
                raise LoraError(f"the two matrices of {module} do not belong together")
            part = transformers_names.to_audiocraft(module)
            if part is None:
                raise LoraError(f"MusicGen's language model has no {module}")
            product = _Product(part.third, down, up, options.scale(module, down.shape[0]))
            self._products[part.tensor].append(product)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(p.down.numel() + p.up.numel() for products in self._products.values() for p in products)

    def check(self, shapes: Mapping[str, torch.Size]) -> None:
        """Raise LoraError unless it fits tensors of these shapes, by name."""
        for name, products in self._products.items():
            shape = shapes.get(name)
            for product in products:
                rows = None if shape is None else shape[0] // (1 if product.third is None else 3)
                if shape is None or (product.up.shape[0], product.down.shape[1]) != (rows, shape[1]):
                    raise LoraError("its matrices do not have the sizes of this model's")

    def products(self, name: str, strength: float) -> list[LowRank]:
        """What it adds to the tensor of that name, times `strength`."""
        return [product.whole(strength) for product in self._products.get(name, ())]


def changes_of(loras: Sequence[tuple[Lora, float]]) -> Changes:
    """Return what adapters, each with its strength, add to the tensors of a checkpoint."""

    def changes(name: str) -> LowRank | None:
        products = [product for lora, strength in loras for product in lora.products(name, strength)]
        if not products:
            return None
        return LowRank(torch.cat([product.down for product in products]), torch.cat([p.up for p in products], dim=1))

    return changes


def adapt_with(changes: Changes) -> Adapt:
    """Return a function that adds `changes`; tensors that none changes stay as they are."""

    def adapt(name: str, tensor: torch.Tensor) -> torch.Tensor:
        change = changes(name)
        return tensor if change is None else change.added_to(tensor)

    return adapt


def unchanged(_name: str, tensor: torch.Tensor) -> torch.Tensor:
    """The `Adapt` of a checkpoint without adapters."""
    return tensor


def _read(content: bytes) -> dict[str, dict[str, torch.Tensor]]:
    """Read the matrices `down` and `up` of each module."""
    pairs: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    try:
        tensors = {name: tensor.float() for name, tensor in safetensors.torch.load(content).items()}
    except Exception:
        # safetensors has its own error class; a truncated file raises others.
        raise LoraError(f"{WEIGHTS_FILE} is damaged") from None
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise LoraError(f"its tensor {name[:80]} is not part of a LoRA")
        role, is_transposed = _ROLES[match["what"]]
        pairs[match["module"]][role] = tensor.T if is_transposed else tensor
    if not pairs or any(pair.keys() != {"down", "up"} for pair in pairs.values()):
        raise LoraError(f"{WEIGHTS_FILE} is not complete")
    # The sum is as finite as its terms, and faster than a look at each.
    if not all(torch.isfinite(tensor.sum()) for tensor in tensors.values()):
        raise LoraError(f"{WEIGHTS_FILE} has values that are no numbers")
    return pairs
