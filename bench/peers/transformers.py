"""Transformers' MusicGen with the weights of an audiocraft model."""

from typing import Any

# The adapter of audiocraft first: it makes torchaudio, which transformers imports, importable with torch for CPUs.
import musicgen_service.models.audiocraft_adapter  # noqa: F401

# isort: split
from musicgen_service.engine.interface import ConditionTensors
from musicgen_service.models.transformers_names import to_transformers

import torch
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForCausalLM,
)


class TransformersNetwork:
    """A `Network`: transformers' decoder with its own caches.

    Its `generate` requires a text encoder that pads, and a codec.

    Parameters
    ----------
    lm : audiocraft's `LMModel`, of which copies are made in `dtype` on its device
    condition : of every clip
    """

    def __init__(self, lm: Any, condition: ConditionTensors, dtype: torch.dtype) -> None:
        self._model = in_transformers(lm).to(dtype)
        if condition.texts:
            # Without padding, as audiocraft attends to it; the unconditional row reads zeros.
            [text] = condition.texts
            self._states = torch.stack([text, torch.zeros_like(text)]).to(dtype)
        else:
            assert condition.prefix is not None
            self._states = condition.prefix.to(dtype)
        self._reads_prefix = not condition.texts
        self.reset()

    def reset(self) -> None:
        """See `Network.reset`."""
        config = self._model.config
        own = DynamicCache(config=config)
        self._cache = own if self._reads_prefix else EncoderDecoderCache(own, DynamicCache(config=config))
        self._is_new = True

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        """See `Network`."""
        rows = columns.repeat(2, 1).to(self._states.device)
        # Of the two classes, the one with a prefix names the cache otherwise, and takes the prefix once.
        if self._reads_prefix:
            known = {"encoder_hidden_states": self._states if self._is_new else None, "cache": self._cache}
        else:
            known = {"encoder_hidden_states": self._states, "past_key_values": self._cache}
        self._is_new = False
        logits = self._model(input_ids=rows, use_cache=True, **known).logits
        return logits[:, -1].view(2, columns.shape[0], -1)


def in_transformers(lm: Any) -> Any:
    """Convert a language model of audiocraft's to transformers' MusicGen, on the same device, with float32 copies.

    Parameters
    ----------
    lm : audiocraft's `LMModel`, including its decoder

    Returns
    -------
    A `MusicgenForCausalLM`, or without cross-attention a `MusicgenMelodyForCausalLM`
    """
    layers = lm.transformer.layers
    has_cross_attention = layers[0].cross_attention is not None
    shape: dict[str, Any] = {
        "vocab_size": lm.card,
        "max_position_embeddings": 2048,
        "num_hidden_layers": len(layers),
        "ffn_dim": layers[0].linear1.weight.shape[0],
        "num_attention_heads": layers[0].self_attn.num_heads,
        "hidden_size": lm.dim,
        "num_codebooks": lm.n_q,
        "audio_channels": 1,
        "pad_token_id": lm.card,
        "bos_token_id": lm.card,
        "dropout": 0.0,
        "layerdrop": 0.0,
    }
    model: MusicgenForCausalLM | MusicgenMelodyForCausalLM
    with torch.device(lm.emb[0].weight.device):
        if has_cross_attention:
            model = MusicgenForCausalLM(MusicgenDecoderConfig(**shape))
        else:
            model = MusicgenMelodyForCausalLM(MusicgenMelodyDecoderConfig(**shape))
    state = to_transformers({name: part for name, part in lm.state_dict().items() if "condition_provider" not in name})
    missing, unknown = model.load_state_dict(state, strict=False)
    if unknown or any("embed_positions" not in name for name in missing):
        raise ValueError(f"weights that do not fit: {[*missing, *unknown][:3]}")
    model.train(False)
    return model
