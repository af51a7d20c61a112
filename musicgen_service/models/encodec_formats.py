"""The two formats of EnCodec's weights: audiocraft's export, and a folder in transformers' format."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from musicgen_service.models import state
from musicgen_service.models.encodec import CodecConfig, Encodec
from musicgen_service.models.seanet import SeaNetConfig

_RENAMES = (
    (re.compile(r"^(encoder|decoder)\.model\."), r"\1.layers."),
    (re.compile(r"\.(conv|convtr)\.\1\."), ".conv."),
    (re.compile(r"^quantizer\.vq\."), "quantizer."),
    (re.compile(r"(^quantizer\.layers\.\d+)\._?codebook\."), r"\1."),
    (re.compile(r"\.parametrizations\.weight\.original0$"), ".weight_g"),
    (re.compile(r"\.parametrizations\.weight\.original1$"), ".weight_v"),
)
_TRAINING_ONLY = ("inited", "cluster_size", "embed_avg")
"""Usage statistics of the codebooks, which only training needs."""


def from_audiocraft(config: Mapping[str, Any], stored: Mapping[str, torch.Tensor], device: torch.device) -> Encodec:
    """Build a codec from audiocraft's `xp.cfg` and state dict.

    Raises
    ------
    KeyError, ValueError, RuntimeError
        When they do not describe a codec that MusicGen uses.
    """
    network, quantizer, codec = config["seanet"], config["rvq"], config["encodec"]
    encoder, decoder = network | network["encoder"], network | network["decoder"]
    _expect(
        (config["compression_model"], "encodec"),
        (codec["autoencoder"], "seanet"),
        (codec["quantizer"], "rvq"),
        (codec["causal"], False),
        (codec.get("renormalize", False), False),
        (network["causal"], False),
        (network["activation"], "ELU"),
        (network["activation_params"], {"alpha": 1.0}),
        (network["norm"] in ("weight_norm", "none"), True),
        (decoder.get("final_activation"), None),
    )
    shape = SeaNetConfig(
        channels=network["channels"],
        dimension=network["dimension"],
        filters=network["n_filters"],
        ratios=tuple(network["ratios"]),
        residual_layers=network["n_residual_layers"],
        encoder_lstm=encoder["lstm"],
        decoder_lstm=decoder["lstm"],
        kernel=network["kernel_size"],
        last_kernel=network["last_kernel_size"],
        residual_kernel=network["residual_kernel_size"],
        dilation_base=network["dilation_base"],
        compress=network["compress"],
        pad_mode=network["pad_mode"],
        has_shortcut_convolution=not network["true_skip"],
    )
    return _build(CodecConfig(shape, codec["sample_rate"], quantizer["n_q"], quantizer["bins"]), stored, device)


def from_folder(folder: Path, device: torch.device) -> Encodec:
    """Build a codec from a folder in transformers' format, which released checkpoints refer to.

    Raises
    ------
    OSError, KeyError, ValueError, RuntimeError
        When a file is missing or does not describe a codec that MusicGen uses.
    """
    config = json.loads((folder / "config.json").read_text())
    _expect(
        (config["use_causal_conv"], False),
        (config["normalize"], False),
        (config["norm_type"], "weight_norm"),
        (config["chunk_length_s"], None),
    )
    shape = SeaNetConfig(
        channels=config["audio_channels"],
        dimension=config["hidden_size"],
        filters=config["num_filters"],
        ratios=tuple(config["upsampling_ratios"]),
        residual_layers=config["num_residual_layers"],
        encoder_lstm=config["num_lstm_layers"],
        decoder_lstm=config["num_lstm_layers"],
        kernel=config["kernel_size"],
        last_kernel=config["last_kernel_size"],
        residual_kernel=config["residual_kernel_size"],
        dilation_base=config["dilation_growth_rate"],
        compress=config["compress"],
        pad_mode=config["pad_mode"],
        has_shortcut_convolution=config.get("use_conv_shortcut", True),
    )
    # The format gives the number of codebooks as a bandwidth in kilobits per second.
    bits_per_second = config["sampling_rate"] / shape.hop * math.log2(config["codebook_size"])
    codebooks = int(1000 * config["target_bandwidths"][-1] // bits_per_second)
    codec = CodecConfig(shape, config["sampling_rate"], codebooks, config["codebook_size"])
    return _build(codec, state.read_folder(folder), device)


def _build(config: CodecConfig, stored: Mapping[str, torch.Tensor], device: torch.device) -> Encodec:
    codec = Encodec(config, device)
    renamed = state.rename(stored, _RENAMES)
    used = {name: tensor for name, tensor in renamed.items() if not name.endswith(_TRAINING_ONLY)}
    state.fill(codec, codec.decoder.converted(_plain_weights(used), "decoder"))
    return codec


def _plain_weights(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Merge weight normalisation: replace each magnitude and direction by the plain weight."""
    plain = {}
    for name, tensor in stored.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight_v":
            # In float32, the precision of the network: files may hold half precision.
            plain[f"{layer}.weight"] = torch._weight_norm(tensor.float(), stored[f"{layer}.weight_g"].float(), 0)
        elif kind != "weight_g":
            plain[name] = tensor
    return plain


def _expect(*options: tuple[Any, Any]) -> None:
    for actual, expected in options:
        if actual != expected:
            raise ValueError(f"a codec with {actual!r} in the place of {expected!r} is not one of MusicGen's")
