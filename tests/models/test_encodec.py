"""The codec's tokens are those of audiocraft's codec with the same weights, and its sound is equal, in both formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.training import configs
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import codec_stream, encodec_formats
from musicgen_service.models.checkpoint_config import parse
from musicgen_service.models.encodec import Encodec, StereoEncodec
from musicgen_service.models.state import read_package

# isort: split
# After the adapter, which makes audiocraft importable.
from audiocraft.models.encodec import HFEncodecCompressionModel, InterleaveStereoCompressionModel
from omegaconf import DictConfig, OmegaConf
from transformers import EncodecConfig, EncodecModel

CPU = torch.device("cpu")
LENGTHS = (1, 5, 639, 640, 641, 32_000, 50_001)
"""In samples; a frame has 640."""
CLOSE = 2e-6
"""Maximum difference of two samples that are the same but for rounding."""
HUB: dict[str, Any] = {
    "sampling_rate": 32_000,
    "target_bandwidths": [1.4],
    "use_causal_conv": False,
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 128,
    "num_filters": 4,
    "hidden_size": 32,
    "use_conv_shortcut": False,
}
"""Configuration of the released codec, with smaller sizes."""


def trained(codec: Any) -> Any:
    """A random codec that gives different tokens for different sounds."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in codec.state_dict().items():
        if name.endswith(".embed"):
            tensor.normal_(std=0.01, generator=generator)
        elif name.endswith(".bias"):
            tensor.zero_()
        elif name.endswith("inited"):
            tensor.fill_(1)
    return codec.eval()


def of_audiocraft(change: Callable[[DictConfig], None] = lambda _: None) -> tuple[Any, Encodec]:
    """audiocraft's codec of a configuration, and ours with the same weights."""
    config = configs.codec(4, 32, 128)
    change(config)
    torch.manual_seed(0)
    theirs = trained(adapter.build_codec(config))
    return theirs, encodec_formats.from_audiocraft(parse(OmegaConf.to_yaml(config)), theirs.state_dict(), CPU)


@torch.no_grad()
def assert_same(theirs: Any, ours: Encodec | StereoEncodec, channels: int = 1) -> None:
    for length in LENGTHS:
        audio = torch.randn(1, channels, length, generator=torch.Generator().manual_seed(length))
        tokens, _ = theirs.encode(audio)
        assert torch.equal(ours.encode(audio), tokens), length
        # Our decoder adds up the same products in another order.
        torch.testing.assert_close(ours.decode(tokens), theirs.decode(tokens, None), atol=CLOSE, rtol=0)
    assert len(tokens.unique()) > 5, "the codec says the same of everything"
    properties = ("sample_rate", "channels", "frame_rate")
    assert [getattr(ours, name) for name in properties] == [getattr(theirs, name) for name in properties]


def reflecting(config: DictConfig) -> None:
    config.seanet.pad_mode = "reflect"


def deep(config: DictConfig) -> None:
    config.seanet.update(n_residual_layers=3, true_skip=False, ratios=[4, 3, 2], kernel_size=5, compress=4)


def without_recurrence(config: DictConfig) -> None:
    config.seanet.encoder = {"lstm": 0}
    config.seanet.disable_norm_outer_blocks = 2


@torch.no_grad()
def assert_streams(codec: Encodec | StereoEncodec) -> None:
    hop = codec.sample_rate // codec.frame_rate
    tokens = codec.encode(torch.randn(1, codec.channels, 250 * hop, generator=torch.Generator().manual_seed(7)))
    whole = codec.decode(tokens)
    assert whole.std() > 1e-4
    for sizes in ([10, 25, 50], [1] * 300, [tokens.shape[-1] - 1]):
        pieces = list(codec.stream(torch.split(tokens, 1, dim=-1), sizes))
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=CLOSE, rtol=0)
    pieces = list(codec.stream([tokens], []))
    assert [piece.shape[-1] // hop for piece in pieces] == [codec_stream.PIECE, 50]
    torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("change", [lambda _: None, reflecting, deep, without_recurrence])
def test_pieces_equal_the_whole(change: Callable[[DictConfig], None]) -> None:
    assert_streams(of_audiocraft(change)[1])


@torch.no_grad()
def assert_encodes(codec: Encodec, patch: pytest.MonkeyPatch) -> None:
    hop = codec.sample_rate // codec.frame_rate
    audio = torch.randn(1, codec.channels, 250 * hop + 7, generator=torch.Generator().manual_seed(7))
    whole = codec.encoder(audio)
    for size in (40, 97, 250):
        patch.setattr(codec_stream, "CHUNK", size)
        pieces = list(codec_stream.encode(codec.encoder, audio, hop))
        assert len(pieces) == -(-251 // size)
        torch.testing.assert_close(torch.cat(pieces, dim=-1), whole, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("change", [lambda _: None, reflecting, deep, without_recurrence])
def test_encoding_in_pieces_equals_the_whole(
    change: Callable[[DictConfig], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_encodes(of_audiocraft(change)[1].mono, monkeypatch)


@pytest.mark.parametrize("change", [lambda _: None, reflecting, deep, without_recurrence])
def test_audiocraft_codecs_are_equal(change: Callable[[DictConfig], None]) -> None:
    assert_same(*of_audiocraft(change))


@pytest.mark.slow
def test_shipped_codec_equals_audiocraft(monkeypatch: pytest.MonkeyPatch) -> None:
    package = read_package(Path("weights/demo/compression_state_dict.bin"))
    theirs = adapter.build_codec(OmegaConf.create(package["xp.cfg"])).eval()
    theirs.load_state_dict(package["best_state"])
    ours = encodec_formats.from_audiocraft(parse(package["xp.cfg"]), package["best_state"], CPU)
    assert_same(theirs, ours)
    # Its recurrent layers never forget how they began.
    assert_encodes(ours, monkeypatch)
    assert_streams(ours)
    assert_streams(StereoEncodec(ours))


@pytest.mark.parametrize("change", [{}, {"pad_mode": "constant"}, {"use_conv_shortcut": True}])
def test_transformers_codecs_are_equal(tmp_path: Path, change: dict[str, Any]) -> None:
    torch.manual_seed(0)
    trained(EncodecModel(EncodecConfig(**(HUB | change)))).save_pretrained(tmp_path)
    theirs = HFEncodecCompressionModel(EncodecModel.from_pretrained(tmp_path)).eval()
    assert_same(theirs, encodec_formats.from_folder(tmp_path, CPU))


def test_older_weight_names_are_accepted(tmp_path: Path) -> None:
    codec = trained(EncodecModel(EncodecConfig(**HUB)))
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in codec.state_dict().items()
    }
    assert older.keys() != codec.state_dict().keys()
    codec.config.save_pretrained(tmp_path)
    torch.save(older, tmp_path / "pytorch_model.bin")
    assert_same(HFEncodecCompressionModel(codec), encodec_formats.from_folder(tmp_path, CPU))


def test_left_and_right_codebooks_alternate() -> None:
    theirs, ours = of_audiocraft()
    stereo = StereoEncodec(ours)
    assert_same(InterleaveStereoCompressionModel(theirs), stereo, channels=2)
    tokens = torch.arange(8)[None, :, None]
    assert [half.flatten().tolist() for half in stereo.left_right(tokens)] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@torch.no_grad()
def test_limited_codebooks_are_the_first_ones() -> None:
    theirs, ours = of_audiocraft()
    theirs.set_num_codebooks(2)
    ours.use_codebooks(2)
    assert_same(theirs, ours)
    assert ours.encode(torch.zeros(1, 1, 640)).shape == (1, 2, 1)


@torch.no_grad()
def test_decoded_latents_equal_those_of_audiocraft() -> None:
    theirs, ours = of_audiocraft()
    tokens = torch.randint(0, 128, (2, 4, 30))
    assert torch.equal(ours.decode_latent(tokens), theirs.decode_latent(tokens))


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("encodec", "causal", True), ("encodec", "renormalize", True), ("seanet", "activation", "ReLU")],
)
def test_unsupported_codecs_are_rejected(group: str, name: str, value: Any) -> None:
    config = parse(OmegaConf.to_yaml(configs.codec(4, 32, 128)))
    config[group][name] = value
    with pytest.raises(ValueError, match="is not one of MusicGen's"):
        encodec_formats.from_audiocraft(config, {}, CPU)


@pytest.mark.parametrize("name", ["encoder.model.0.conv.conv.bias", "quantizer.vq.layers.1._codebook.embed"])
def test_error_names_missing_weights(name: str) -> None:
    config = configs.codec(4, 32, 128)
    state = adapter.build_codec(config).state_dict()
    del state[name]
    with pytest.raises(RuntimeError, match=r"not those of its configuration: (encoder\.layers\.0|quantizer)"):
        encodec_formats.from_audiocraft(parse(OmegaConf.to_yaml(config)), state, CPU)
