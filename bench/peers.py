"""Transformers' MusicGen with the weights of an audiocraft model, for comparison with the engine."""

from collections.abc import Callable
from typing import Any

# The adapter of audiocraft first: it makes torchaudio, which transformers imports, importable with torch for CPUs.
import musicgen_service.models.audiocraft_adapter  # noqa: F401

# isort: split
from musicgen_service.engine.interface import OnStep
from musicgen_service.models.transformers_names import to_transformers

import torch
from transformers import DynamicCache, EncoderDecoderCache, MusicgenDecoderConfig, MusicgenForCausalLM


def in_transformers(lm: Any) -> MusicgenForCausalLM:
    """Convert a text model of audiocraft's to transformers' MusicGen, on the same device, with copies in float32.

    Parameters
    ----------
    lm : audiocraft's `LMModel`, including its decoder
    """
    layers = lm.transformer.layers
    config = MusicgenDecoderConfig(
        vocab_size=lm.card,
        max_position_embeddings=2048,
        num_hidden_layers=len(layers),
        ffn_dim=layers[0].linear1.weight.shape[0],
        num_attention_heads=layers[0].self_attn.num_heads,
        hidden_size=lm.dim,
        num_codebooks=lm.n_q,
        audio_channels=1,
        pad_token_id=lm.card,
        bos_token_id=lm.card,
        dropout=0.0,
        layerdrop=0.0,
    )
    with torch.device(lm.emb[0].weight.device):
        model = MusicgenForCausalLM(config)
    state = to_transformers({name: part for name, part in lm.state_dict().items() if "condition_provider" not in name})
    missing, unknown = model.load_state_dict(state, strict=False)
    if unknown or any("embed_positions" not in name for name in missing):
        raise ValueError(f"weights that do not fit: {[*missing, *unknown][:3]}")
    model.train(False)
    return model


@torch.no_grad()
def generate(
    model: MusicgenForCausalLM,
    text: torch.Tensor,
    length: int,
    guidance: float,
    pick: Callable[[torch.Tensor], torch.Tensor],
    on_step: OnStep,
) -> torch.Tensor:
    """Generate tokens [codebooks, length] with transformers' network, cache and delay pattern.

    Its own `generate` requires a text encoder that pads, and a codec; this is its inner loop.

    Parameters
    ----------
    text : the projected text [positions, dim], without padding, as audiocraft attends to it
    pick : from guided logits [codebooks, card] to tokens [codebooks]
    """
    books, pad, columns = model.config.num_codebooks, model.config.vocab_size, length + model.config.num_codebooks
    start = torch.full((books, 1), pad, device=text.device)
    tokens, mask = model.build_delay_pattern_mask(start, pad, columns)  # type: ignore[arg-type]
    states = torch.stack([text, torch.zeros_like(text)])
    cache = EncoderDecoderCache(DynamicCache(config=model.config), DynamicCache(config=model.config))
    for column in range(1, columns):
        rows = tokens[:, -1:].repeat(2, 1)
        logits = model(input_ids=rows, encoder_hidden_states=states, past_key_values=cache, use_cache=True).logits
        conditional, unconditional = logits[:, -1].view(2, books, -1)
        picked = pick(unconditional + (conditional - unconditional) * guidance)
        following = torch.cat([tokens, picked[:, None]], dim=-1)
        tokens = model.apply_delay_pattern_mask(following, mask)  # type: ignore[no-untyped-call]
        on_step(column, columns - 1)
    return tokens[mask == -1].view(books, length)
