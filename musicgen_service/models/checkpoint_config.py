"""Configuration of a language model, read from a checkpoint's `xp.cfg` (audiocraft's configuration)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from musicgen_service.engine.weights import DecoderShape
from musicgen_service.models.chroma import ChromaOptions
from musicgen_service.models.music_model import MelodySpan

DESCRIPTION, MELODY = "description", "self_wav"
"""Names of the two conditions in MusicGen's checkpoints."""
_REQUIRED = {"norm_first": True, "bias_ff": False, "bias_attn": False, "bias_proj": False}
"""Transformer options that the engine requires and that differ from audiocraft's defaults."""
_REQUIRED_DEFAULTS = {
    "activation": "gelu",
    "norm": "layer_norm",
    "positional_embedding": "sin",
    "positional_scale": 1,
    "past_context": None,
    "layer_scale": None,
    "qk_layer_norm": False,
    "qk_layer_norm_cross": False,
    "kv_repeat": 1,
}
"""Transformer options that the engine requires and that are audiocraft's defaults, so they may be absent."""
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def parse(text: str) -> dict[str, Any]:
    """Parse a YAML configuration to plain dictionaries, resolving references such as `${sample_rate}`.

    Raises
    ------
    ValueError
        When the text is not YAML or not a dictionary.
    KeyError
        When a reference cannot be resolved.
    """
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"its configuration cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError("its configuration cannot be read")
    resolved: dict[str, Any] = _resolve(config, config)
    return resolved


def _resolve(value: Any, config: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _resolve(entry, config) for name, entry in value.items()}
    if isinstance(value, list):
        return [_resolve(entry, config) for entry in value]
    if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
        target: Any = config
        for name in reference[1].split("."):
            target = target[name]
        return _resolve(target, config)
    return value


@dataclass(frozen=True)
class LanguageModelConfig:
    """Configuration of a language model that the engine decodes.

    Attributes
    ----------
    decoder : sizes of its transformer
    delays : frames by which each codebook lags behind the first
    window : maximum seconds of audio that it attends to
    text_encoder : folder of its text encoder
    chroma : options of its melody chroma; None when it takes no melody
    is_stereo : whether its codebooks alternate between left and right
    codec_codebooks : number of the codec's codebooks that it uses; None for all
    """

    decoder: DecoderShape
    delays: tuple[int, ...]
    window: float
    text_encoder: str
    chroma: ChromaOptions | None
    is_stereo: bool
    codec_codebooks: int | None

    @property
    def melody_span(self) -> MelodySpan | None:
        """The size of its chroma prefix; None for a model that takes no melody."""
        if self.chroma is None:
            return None
        return MelodySpan(self.chroma.frames(int(self.chroma.sample_rate * self.window)), float(self.window))

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "LanguageModelConfig":
        """Read a parsed `xp.cfg`.

        Raises
        ------
        KeyError, ValueError
            When an entry is missing or a conditioner is not supported.
        """
        transformer = config["transformer_lm"]
        conditioners = {name: entry for name, entry in config["conditioners"].items() if name != "args"}
        models = {name: entry["model"] for name, entry in conditioners.items()}
        unknown = set(models.items()) - {(DESCRIPTION, "t5"), (MELODY, "chroma_stem")}
        if unknown:
            raise ValueError(f"conditions by '{next(iter(unknown))[1]}' are not known")
        codebooks = transformer["n_q"]
        delays = config["codebooks_pattern"].get("delay", {}).get("delays")
        stereo = config.get("interleave_stereo_codebooks") or {}
        return cls(
            decoder=DecoderShape(
                dim=transformer["dim"],
                heads=transformer["num_heads"],
                layers=transformer["num_layers"],
                feedforward=int(transformer["hidden_scale"] * transformer["dim"]),
                codebooks=codebooks,
                card=transformer["card"],
                has_cross_attention=DESCRIPTION in config["fuser"]["cross"],
            ),
            delays=tuple(range(codebooks) if delays is None else delays),
            window=config["dataset"]["segment_duration"],
            text_encoder=conditioners[DESCRIPTION]["t5"]["name"],
            chroma=_chroma_options(conditioners[MELODY]["chroma_stem"]) if MELODY in conditioners else None,
            is_stereo=bool(stereo.get("use")),
            codec_codebooks=config.get("compression_model_n_q"),
        )


def _chroma_options(options: Mapping[str, Any]) -> ChromaOptions:
    return ChromaOptions(
        sample_rate=options["sample_rate"],
        classes=options["n_chroma"],
        window=2 ** options["radix2_exp"],
        strongest_only=options.get("argmax", False),
    )


def is_supported(config: Mapping[str, Any]) -> bool:
    """Whether a parsed `xp.cfg` has the architecture of the released MusicGen models, which the engine supports."""
    transformer, pattern, fuser = config["transformer_lm"], config["codebooks_pattern"], config["fuser"]
    delay = pattern.get("delay") or {}
    text = config["conditioners"][DESCRIPTION].get("t5", {})
    return (
        all(transformer.get(name) == value for name, value in _REQUIRED.items())
        and all(transformer.get(name, value) == value for name, value in _REQUIRED_DEFAULTS.items())
        and bool(transformer.get("custom") or transformer.get("memory_efficient"))
        and pattern["modeling"] == "delay"
        and not delay.get("flatten_first")
        and not delay.get("empty_initial")
        and not fuser.get("sum")
        and not fuser.get("input_interpolate")
        and MELODY not in fuser["cross"]
        and not fuser.get("cross_attention_pos_emb")
        and not text.get("finetune")
        and not text.get("normalize_text")
        and not (config.get("interleave_stereo_codebooks") or {}).get("per_timestep")
    )
