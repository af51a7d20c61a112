"""Adapters with random weights."""

from collections.abc import Sequence

import torch

from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.store import WeightStore
from musicgen_service.training import base, network
from musicgen_service.training.network import PeftModel
from musicgen_service.training.options import TARGETS


def random_lora(
    store: WeightStore,
    checkpoint: str,
    seed: int = 1,
    targets: Sequence[str] = TARGETS,
    rank: int = 4,
    alpha: int = 8,
    deviation: float = 0.1,
) -> PeftModel:
    """The network of a checkpoint with a LoRA whose effect is large; `deviation` is that of its weights."""
    network_to_train = base.load(store, checkpoint, torch.device("cpu")).network()
    torch.manual_seed(seed)
    model = network.with_adapter(network_to_train, rank, alpha, targets)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            # Exact in half precision, in which adapters are stored.
            parameter.data = (deviation * torch.randn_like(parameter)).half().float()
    return model.eval()


def add(store: WeightStore, name: str, model: PeftModel) -> None:
    """Put the LoRA of a network into the weights folder."""
    with AdapterStore.of(store).adding(name, source="a test") as folder:
        network.save(model, network.weights_of(model), folder)
