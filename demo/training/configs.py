"""Configurations of MusicGen's checkpoints (`xp.cfg`), from which audiocraft builds networks."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

SAMPLE_RATE = 32_000

_LANGUAGE_MODEL: dict[str, Any] = {
    "device": "cpu",
    "dtype": "float32",
    "solver": "musicgen",
    "sample_rate": SAMPLE_RATE,
    "compression_model_n_q": None,
    "lm_model": "transformer_lm",
    "codebooks_pattern": {"modeling": "delay", "delay": {"flatten_first": 0, "empty_initial": 0}},
    "transformer_lm": {
        "hidden_scale": 4,
        "dropout": 0.0,
        "emb_lr": None,
        "activation": "gelu",
        "norm_first": True,
        "bias_ff": False,
        "bias_attn": False,
        "bias_proj": False,
        "past_context": None,
        "causal": True,
        "custom": False,
        "memory_efficient": True,
        "attention_as_float32": False,
        "layer_scale": None,
        "positional_embedding": "sin",
        "xpos": False,
        "checkpointing": "none",
        "weight_init": "gaussian",
        "depthwise_init": "current",
        "zero_bias_init": True,
        "norm": "layer_norm",
        "cross_attention": False,
        "qk_layer_norm": False,
        "qk_layer_norm_cross": False,
        "attention_dropout": None,
        "kv_repeat": 1,
        "two_step_cfg": False,
    },
    "classifier_free_guidance": {"inference_coef": 3.0},
    "fuser": {
        "cross_attention_pos_emb": False,
        "cross_attention_pos_emb_scale": 1,
        "sum": [],
        "prepend": [],
        "cross": [],
        "input_interpolate": [],
    },
}
_CODEC: dict[str, Any] = {
    "device": "cpu",
    "sample_rate": SAMPLE_RATE,
    "channels": 1,
    "compression_model": "encodec",
    "encodec": {
        "autoencoder": "seanet",
        "quantizer": "rvq",
        "sample_rate": SAMPLE_RATE,
        "channels": 1,
        "causal": False,
        "renormalize": False,
    },
    "seanet": {
        "channels": 1,
        "causal": False,
        "n_residual_layers": 1,
        "ratios": [8, 5, 4, 4],
        "activation": "ELU",
        "activation_params": {"alpha": 1.0},
        "norm": "weight_norm",
        "norm_params": {},
        "kernel_size": 7,
        "residual_kernel_size": 3,
        "last_kernel_size": 7,
        "dilation_base": 2,
        "pad_mode": "constant",
        "true_skip": True,
        "compress": 2,
        "lstm": 2,
        "disable_norm_outer_blocks": 0,
        "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
        "encoder": {},
    },
    "rvq": {
        "n_q": 4,
        "q_dropout": False,
        "decay": 0.99,
        "kmeans_init": True,
        "kmeans_iters": 50,
        "threshold_ema_dead_code": 2,
        "orthogonal_reg_weight": 0.0,
        "orthogonal_reg_active_codes_only": False,
    },
    "no_quant": {},
}


def language_model(values: Mapping[str, Any]) -> DictConfig:
    """The `xp.cfg` of a language model.

    Parameters
    ----------
    values : its specific values, such as size, codebooks and conditioners; merged into the shared ones
    """
    merged = OmegaConf.merge(_LANGUAGE_MODEL, values)
    assert isinstance(merged, DictConfig)
    return merged


def codec(filters: int, dimension: int, codebook_size: int, seanet: Mapping[str, Any] | None = None) -> DictConfig:
    """The `xp.cfg` of a 32 kHz mono codec with 50 frames per second and 4 codebooks.

    Parameters
    ----------
    filters : channels of its outermost layer
    dimension : of a frame's latent vector
    seanet : further options of its encoder and decoder
    """
    specific = {
        "seanet": {"n_filters": filters, "dimension": dimension, **(seanet or {})},
        "rvq": {"bins": codebook_size},
    }
    merged = OmegaConf.merge(_CODEC, specific)
    assert isinstance(merged, DictConfig)
    return merged


def chroma(match_length: bool) -> dict[str, Any]:
    """The melody conditioner, as in the melody checkpoints.

    Parameters
    ----------
    match_length : whether a melody is repeated or cut to the length of a training clip
    """
    options = {
        "sample_rate": SAMPLE_RATE,
        "n_chroma": 12,
        "radix2_exp": 14,
        "argmax": True,
        "match_len_on_eval": match_length,
        "eval_wavs": None,
        "n_eval_wavs": 100,
        "cache_path": None,
    }
    return {"model": "chroma_stem", "chroma_stem": options}
