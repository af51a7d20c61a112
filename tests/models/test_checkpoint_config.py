"""Configuration of language models, and which architectures the engine supports."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import loading
from musicgen_service.models.checkpoint_config import LanguageModelConfig, is_supported, parse
from musicgen_service.models.store import WeightStore
from tests.support.checkpoints import TINY, lm_config


def released(stereo: bool = False, melody: bool = False) -> dict[str, Any]:
    return parse(OmegaConf.to_yaml(lm_config(TINY, stereo, melody, 128, 30.0)))


def test_references_between_values_are_resolved() -> None:
    config = parse("rate: 32000\nlm: {dim: '${size.dim}', rates: ['${rate}']}\nsize: {dim: '${rate}'}")
    assert config["lm"] == {"dim": 32_000, "rates": [32_000]}


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_malformed_configuration_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="its configuration cannot be read"):
        parse(text)


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("melody", [False, True])
def test_released_architectures_are_supported(stereo: bool, melody: bool) -> None:
    options = released(stereo, melody)
    assert is_supported(options)
    config = LanguageModelConfig.read(options)
    assert config.delays == ((0, 0, 1, 1, 2, 2, 3, 3) if stereo else (0, 1, 2, 3))
    assert config.is_stereo is stereo
    assert config.melody_span == ((235, 30.0) if melody else None)
    assert config.decoder.has_cross_attention is not melody


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("transformer_lm", "activation", "relu"),
        ("transformer_lm", "bias_ff", True),
        ("transformer_lm", "positional_embedding", "rope"),
        ("transformer_lm", "positional_scale", 0.5),
        ("transformer_lm", "qk_layer_norm", True),
        ("transformer_lm", "memory_efficient", False),
        ("codebooks_pattern", "modeling", "parallel"),
        ("codebooks_pattern", "delay", {"delays": [0, 1, 2, 3], "flatten_first": 1}),
        ("fuser", "sum", ["description"]),
        ("fuser", "cross_attention_pos_emb", True),
        ("interleave_stereo_codebooks", "per_timestep", True),
    ],
)
def test_other_architectures_are_not_supported(group: str, name: str, value: Any) -> None:
    options = released()
    options[group][name] = value
    assert not is_supported(options)


def test_options_with_other_defaults_must_be_present() -> None:
    options = released()
    del options["transformer_lm"]["bias_attn"]
    assert not is_supported(options)


def test_other_conditioners_are_rejected() -> None:
    options = released()
    options["conditioners"]["genre"] = {"model": "lut", "lut": {"n_bins": 10}}
    with pytest.raises(ValueError, match="conditions by 'lut' are not known"):
        LanguageModelConfig.read(options)


def test_reference_loop_is_used_for_unsupported_architectures(own: WeightStore) -> None:
    file = own.path("small") / "state_dict.bin"
    package = torch.load(file, weights_only=True)
    package["xp.cfg"] = package["xp.cfg"].replace("activation: gelu", "activation: relu")
    torch.save(package, file)
    model = loading.load_model(own.checkpoint("small"), torch.device("cpu"))
    assert isinstance(model.generator, ReferenceLoop)
