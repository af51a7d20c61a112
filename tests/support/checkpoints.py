"""Checkpoints with random weights in the released formats, small enough to build in a test."""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from demo.training import configs
from demo.training.configs import SAMPLE_RATE
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.catalogue import DIFFUSION, HTDEMUCS, T5

TINY = {"dim": 64, "num_heads": 4, "num_layers": 2}
SMALL = {"dim": 1024, "num_heads": 16, "num_layers": 24}

_WORDS = "a the rock pop jazz lofi song with guitar piano drums bass fast slow 90 120 bpm , .".split()


def build_text_encoder(folder: Path, width: int = 64, layers: int = 2) -> None:
    """A T5 encoder with a word-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5Config, T5EncoderModel

    folder.mkdir(parents=True)
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -6.0)]
    vocabulary += [("\u2581" + word, -3.0) for word in _WORDS] + [(letter, -10.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 512, **marks}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    config = T5Config(vocab_size=256, d_model=width, d_kv=width // 4, d_ff=2 * width, num_layers=layers, num_heads=4)
    T5EncoderModel(config).save_pretrained(folder)


def lm_config(size: dict[str, int], stereo: bool, melody: bool, card: int, window: float) -> DictConfig:
    """The `xp.cfg` of a language model, as the released checkpoints have it."""
    delays = [0, 0, 1, 1, 2, 2, 3, 3] if stereo else [0, 1, 2, 3]
    description = {"name": T5, "finetune": False, "word_dropout": 0.3, "normalize_text": False}
    conditioners: dict[str, Any] = {"description": {"model": "t5", "t5": description}}
    fuser, dropout = {"cross": ["description"]}, {}
    if melody:
        fuser = {"prepend": ["self_wav", "description"]}
        dropout = {"args": {"active_on_eval": False}, "text": {}, "wav": {"self_wav": 0.5}}
        conditioners = {"self_wav": configs.chroma(match_length=False), **conditioners}
    return configs.language_model(
        {
            "channels": 2 if stereo else 1,
            "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False},
            "dataset": {"segment_duration": window},
            "codebooks_pattern": {"delay": {"delays": delays}},
            "transformer_lm": {**size, "n_q": len(delays), "card": card},
            "classifier_free_guidance": {"training_dropout": 0.3},
            "attribute_dropout": dropout,
            "fuser": fuser,
            "conditioners": conditioners,
        }
    )


def build_checkpoint(
    weights: Path,
    name: str,
    *,
    stereo: bool = False,
    melody: bool = False,
    size: dict[str, int] = TINY,
    card: int = 128,
    window: float = 30.0,
    codec: tuple[int, int] = (4, 32),
    device: str = "cpu",
) -> Path:
    """A checkpoint folder `weights/name` with random weights, and the text encoder it needs.

    They are drawn on `device`: a GPU draws billions in seconds.
    """
    if not (weights / T5).is_dir():
        build_text_encoder(weights / T5)
    folder = weights / name
    folder.mkdir()
    config = lm_config(size, stereo, melody, card, window)
    buildable = config.copy()
    buildable.conditioners.description.t5.name = str(weights / T5)
    buildable.device = device
    torch.manual_seed(1)
    lm_state = adapter.build_lm(buildable).state_dict()
    half = {key: (value.half() if value.is_floating_point() else value).cpu() for key, value in lm_state.items()}
    _save(half, config, folder / "state_dict.bin")
    codec_cfg = configs.codec(*codec, card)
    codec_state = adapter.build_codec(codec_cfg.copy()).state_dict()
    for key, value in codec_state.items():
        # A codebook that was never trained counts as empty; these stand for trained ones.
        if key.endswith(("inited", "cluster_size")):
            codec_state[key] = torch.ones_like(value)
        elif key.endswith("_codebook.embed"):
            codec_state[key] = torch.randn_like(value)
        elif key.startswith("decoder.") and key.endswith(".bias"):
            codec_state[key] = torch.zeros_like(value)  # random ones would add up to a constant, not a sound
    _save(codec_state, codec_cfg, folder / "compression_state_dict.bin")
    return folder


def build_diffusion(weights: Path, codec_dimension: int = 32) -> None:
    """A MultiBand Diffusion checkpoint for a tiny codec."""
    from musicgen_service.models.audiocraft_adapter import builders

    config = OmegaConf.create(
        {
            "channels": 1,
            "sample_rate": SAMPLE_RATE,
            "diffusion_unet": {
                "hidden": 8,
                "depth": 4,
                "res_blocks": 1,
                "norm_groups": 4,
                "kernel": 8,
                "stride": 4,
                "growth": 2,
                "max_channels": 10000,
                "dropout": 0.0,
                "emb_all_layers": True,
                "bilstm": False,
                "codec_dim": codec_dimension,
                "transformer": True,
                "cross_attention": True,
            },
            "processor": {
                "name": "multi_band_processor",
                "use": True,
                "n_bands": 8,
                "num_samples": 10000,
                "power_std": 1.0,
            },
            "schedule": {
                "repartition": "power",
                "variable_step_batch": True,
                "beta_t0": 1e-5,
                "beta_t1": 2.9e-2,
                "beta_exp": 7.5,
                "num_steps": 1000,
                "variance": "beta",
                "clip": 5.0,
                "rescale": 1.0,
                "n_bands": None,
                "noise_scale": 1.0,
            },
        }
    )
    torch.manual_seed(2)
    package: dict[Any, Any] = {"sample_rate": SAMPLE_RATE, "n_bands": 2}
    for band in range(2):
        model = builders.get_diffusion_model(config)
        processor = builders.get_processor(config.processor, sample_rate=SAMPLE_RATE)
        for counter in (processor.counts, processor.sum_x2, processor.sum_target_x2):
            counter.fill_(1.0)
        package[band] = {
            "cfg": config,
            "model_state": model.state_dict(),
            "processor_state": processor.state_dict(),
        }
    folder = weights / DIFFUSION
    folder.mkdir()
    torch.save(package, folder / "mbd_musicgen_32khz.th")


def build_separator(weights: Path) -> None:
    """A Demucs checkpoint in the hub's format: one random HTDemucs with four sources."""
    from demucs.htdemucs import HTDemucs

    sources = ["drums", "bass", "other", "vocals"]
    shape = {"channels": 8, "depth": 4, "t_layers": 1, "bottom_channels": 64, "t_heads": 4, "segment": 7.8}
    torch.manual_seed(3)
    model = HTDemucs(sources=sources, **shape)
    folder = weights / HTDEMUCS
    folder.mkdir()
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps({"sources": sources, **shape}),
    }
    save_file(model.state_dict(), folder / "tiny.safetensors", metadata=metadata)
    (folder / "htdemucs.yaml").write_text("models: ['tiny']\nsegment: 7.8\n")


def _save(state: dict[str, torch.Tensor], config: DictConfig, path: Path) -> None:
    package = {"best_state": state, "xp.cfg": OmegaConf.to_yaml(config), "version": "1.3.0", "exported": True}
    torch.save(package, path)
