"""Names of the decoder's tensors in transformers' MusicGen and in audiocraft's checkpoints.

audiocraft keeps the three projections of an attention in one matrix, transformers in three.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch

from musicgen_service.models.checkpoint_config import DESCRIPTION, MELODY
from musicgen_service.models.conditioner import PREFIX

_FROM_AUDIOCRAFT = {
    "norm1": "self_attn_layer_norm",
    "norm_cross": "encoder_attn_layer_norm",
    "norm2": "final_layer_norm",
    "linear1": "fc1",
    "linear2": "fc2",
    "cross_attention": "encoder_attn",
    "linears": "lm_heads",
    "emb": "model.decoder.embed_tokens",
    "out_norm": "model.decoder.layer_norm",
    "transformer": "model.decoder",
}
"""Parts of audiocraft's names, and what they are in transformers' `MusicgenForCausalLM`."""
_PROJECTIONS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}
_DECODER = re.compile(
    r"(?:model\.decoder\.)?(?:"
    r"(?P<layer>layers\.\d+)\.(?:(?P<attention>self_attn|encoder_attn)\.(?P<projection>[qkv]_proj|out_proj)"
    r"|(?P<feedforward>fc[12]))"
    r"|embed_tokens\.(?P<embedding>\d+)|lm_heads\.(?P<head>\d+))"
)
_CONDITIONS = {
    "enc_to_dec_proj": f"{PREFIX}{DESCRIPTION}.output_proj.weight",
    "audio_enc_to_dec_proj": f"{PREFIX}{MELODY}.output_proj.weight",
}
_ATTENTIONS = {"self_attn": "self_attn", "encoder_attn": "cross_attention"}
_FEEDFORWARD = {"fc1": "linear1", "fc2": "linear2"}


class Part(NamedTuple):
    """A matrix of transformers' MusicGen in audiocraft's checkpoint.

    Attributes
    ----------
    tensor : name of the tensor
    third : which third of its rows, from 0; None for all rows
    """

    tensor: str
    third: int | None = None


def to_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the tensors of a decoder from audiocraft's names to those of `MusicgenForCausalLM`."""
    renamed = {}
    for name, tensor in state.items():
        parts = ".".join(_FROM_AUDIOCRAFT.get(part, part) for part in name.split("."))
        if parts.endswith("in_proj_weight"):
            for projection, part in zip(_PROJECTIONS, tensor.chunk(3), strict=True):
                renamed[parts.replace("in_proj_weight", f"{projection}.weight")] = part
        else:
            renamed[parts] = tensor
    return renamed


def to_audiocraft(module: str) -> Part | None:
    """Find the matrix of a module of `MusicgenForConditionalGeneration` in audiocraft's checkpoint.

    Parameters
    ----------
    module : such as `decoder.model.decoder.layers.0.self_attn.q_proj`; the first `decoder.` may be absent, as in
        `MusicgenForCausalLM`

    Returns
    -------
    None for a module that audiocraft's language model does not have
    """
    name = module.removeprefix("decoder.")
    if name in _CONDITIONS:
        return Part(_CONDITIONS[name])
    match = _DECODER.fullmatch(name)
    if match is None:
        return None
    if match["embedding"]:
        return Part(f"emb.{match['embedding']}.weight")
    if match["head"]:
        return Part(f"linears.{match['head']}.weight")
    layer = f"transformer.{match['layer']}"
    if match["feedforward"]:
        return Part(f"{layer}.{_FEEDFORWARD[match['feedforward']]}.weight")
    attention = f"{layer}.{_ATTENTIONS[match['attention']]}"
    if match["projection"] == "out_proj":
        return Part(f"{attention}.out_proj.weight")
    return Part(f"{attention}.in_proj_weight", _PROJECTIONS[match["projection"]])
