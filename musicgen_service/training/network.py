"""The network that is trained: transformers' MusicGen decoder with a checkpoint's weights, and PEFT's LoRA on it.

The modules have the names that they have in transformers' `MusicgenForConditionalGeneration`, so that PEFT loads an
adapter onto that model, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Makes torchaudio, which transformers imports, importable with torch for CPUs.
import musicgen_service.models.torchaudio_import  # noqa: F401

# isort: split
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save as serialize
from torch import nn
from transformers import (
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForCausalLM,
)

from musicgen_service.models import transformers_names
from musicgen_service.models.checkpoint_config import LanguageModelConfig
from musicgen_service.models.conditioner import PREFIX
from musicgen_service.models.lora_options import WEIGHTS_FILE

__all__ = [
    "Network",
    "PeftModel",
    "build",
    "empty",
    "off_device",
    "save",
    "save_memory",
    "set_weights",
    "weights_of",
    "with_adapter",
]

_POSITIONS = 2048
"""Positions for which embeddings are computed at once; transformers computes more when they are needed."""


class Network(nn.Module):
    """A decoder under the name that it has in `MusicgenForConditionalGeneration`.

    Parameters
    ----------
    decoder : `MusicgenForCausalLM`, or `MusicgenMelodyForCausalLM` for a checkpoint without cross-attention
    name : of the base model, which PEFT writes into an adapter's configuration
    """

    def __init__(self, decoder: Any, name: str) -> None:
        super().__init__()
        self.decoder = decoder
        self.name_or_path = name

    def forward(self, columns: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Compute next-token logits.

        Parameters
        ----------
        columns : int64 [rows, codebooks, columns], tokens in the delay pattern
        condition : float [rows, positions, dim], what is attended to or, without cross-attention, prepended

        Returns
        -------
        float [rows, codebooks, columns, card]
        """
        rows, codebooks, length = columns.shape
        logits = self.decoder(
            input_ids=columns.reshape(rows * codebooks, length),
            encoder_hidden_states=condition,
            use_cache=False,
        ).logits
        result: torch.Tensor = logits.view(rows, codebooks, logits.shape[1], -1)[:, :, -length:]
        return result


def build(
    name: str,
    config: LanguageModelConfig,
    stored: Mapping[str, torch.Tensor],
    device: torch.device,
    dtype: torch.dtype,
) -> Network:
    """Build the network of a checkpoint.

    Parameters
    ----------
    name : see `Network`
    config : of the checkpoint's language model
    stored : its state dict, with audiocraft's names
    dtype : of its weights

    Raises
    ------
    RuntimeError
        When the tensors are not those of the configuration.
    """
    decoder_state = {name: tensor for name, tensor in stored.items() if not name.startswith(PREFIX)}
    # Without memory until the weights are assigned, in place of a random initialisation that takes long.
    with torch.device("meta"):
        decoder = empty(config)
    renamed = transformers_names.to_transformers(decoder_state)
    copies = {name: tensor.to(device, dtype, copy=True) for name, tensor in renamed.items()}
    decoder.load_state_dict(copies, strict=True, assign=True)
    positions = decoder.model.decoder.embed_positions
    weights = positions.get_embedding(_POSITIONS, config.decoder.dim).to(device, dtype)
    positions.weights = nn.Buffer(weights, persistent=False)
    return Network(decoder.requires_grad_(False), name)


def empty(config: LanguageModelConfig) -> Any:
    """Create transformers' decoder for a language model."""
    shape = config.decoder
    options: dict[str, Any] = {
        "vocab_size": shape.card,
        "max_position_embeddings": _POSITIONS,
        "num_hidden_layers": shape.layers,
        "ffn_dim": shape.feedforward,
        "num_attention_heads": shape.heads,
        "hidden_size": shape.dim,
        "num_codebooks": shape.codebooks,
        "audio_channels": 2 if config.is_stereo else 1,
        "pad_token_id": shape.card,
        "bos_token_id": shape.card,
        "dropout": 0.0,
        "layerdrop": 0.0,
    }
    if shape.has_cross_attention:
        return MusicgenForCausalLM(MusicgenDecoderConfig(**options))
    return MusicgenMelodyForCausalLM(MusicgenMelodyDecoderConfig(**options))


def with_adapter(network: Network, rank: int, alpha: int, targets: Sequence[str]) -> PeftModel:
    """Add a LoRA whose effect is none until it is trained, in float32.

    Parameters
    ----------
    rank, alpha : of the LoRA; its product is scaled by alpha / rank
    targets : names of modules, of `options.TARGETS`
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets))
    return get_peft_model(network, config)


def save_memory(model: PeftModel) -> None:
    """Have the activations inside of layers computed a second time for gradients, in place of keeping them."""
    decoder: Any = model.get_base_model().decoder
    decoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@contextmanager
def off_device(model: PeftModel) -> Iterator[None]:
    """Keep the weights that are not trained in the memory of the processor for the block: on a GPU its room is free."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    device = frozen[0].device
    for parameter in frozen:
        parameter.data = parameter.data.cpu()
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.data = parameter.data.to(device)


def save(model: PeftModel, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write an adapter as PEFT does, in half precision.

    Parameters
    ----------
    weights : of the LoRA, by the names of `weights_of`
    """
    stored = {name: tensor.detach().cpu().half().contiguous() for name, tensor in weights.items()}
    # safetensors writes files that nobody else may read.
    (folder / WEIGHTS_FILE).write_bytes(serialize(stored, metadata={"format": "pt"}))
    model.peft_config["default"].save_pretrained(str(folder))


def weights_of(model: PeftModel) -> dict[str, torch.Tensor]:
    """The weights of the LoRA, by the names that PEFT stores them under."""
    # Embeddings are never trained; to find that out, PEFT would ask the hub for the base's configuration.
    weights: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return weights


def set_weights(model: PeftModel, weights: Mapping[str, torch.Tensor]) -> None:
    """Set the weights of the LoRA."""
    set_peft_model_state_dict(model, dict(weights))
