"""Loading of checkpoints, compared with audiocraft's own loader."""

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_service.engine import precision
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import loading
from musicgen_service.models.catalogue import CODEC, DIFFUSION, HTDEMUCS, T5
from musicgen_service.models.store import WeightStore
from tests.support.sounds import tone

# isort: split
# Imported after the adapter, which makes audiocraft importable.
import demucs.pretrained
from audiocraft.models import loaders
from audiocraft.modules.conditioners import ClassifierFreeGuidanceDropout, T5Conditioner
from omegaconf import OmegaConf

CPU = torch.device("cpu")
KINDS = ["small", "melody", "stereo-small", "stereo-melody"]


@pytest.mark.parametrize("name", KINDS)
def test_model_properties_match_its_name(store: WeightStore, name: str) -> None:
    model = loading.load_model(store.checkpoint(name), CPU)
    assert model.sample_rate == 32_000
    assert model.frame_rate == 50
    assert model.hop == 640
    assert model.window == 1500
    assert model.channels == (2 if "stereo" in name else 1)
    assert (model.melody_span is not None) == ("melody" in name)


@pytest.mark.parametrize(
    ("device", "settings", "widening"),
    [
        ("cpu", {}, 1),
        ("cpu", {"MUSICGEN_PRECISION": "auto"}, 1),
        ("cpu", {"MUSICGEN_PRECISION": "int8"}, 0.75),
        ("cpu", {"MUSICGEN_ENGINE": "reference"}, 2),
        ("cuda", {}, 1),
        ("cuda", {"MUSICGEN_PRECISION": "bf16"}, 1),
        ("cuda", {"MUSICGEN_PRECISION": "exact"}, 2),
    ],
)
def test_a_language_model_counts_as_its_precision_stores_it(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch, device: str, settings: dict[str, str], widening: float
) -> None:
    monkeypatch.setattr(precision, "_has_fbgemm", lambda: True)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    files = store.checkpoint("small")
    size = files.language_model.stat().st_size
    assert loading.language_model_memory(files, torch.device(device)) == int(size * widening)


@pytest.mark.parametrize("name", KINDS)
def test_weights_equal_those_of_audiocrafts_loader(
    store: WeightStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")  # the engine stores weights in a packed format
    ours = loading.load_model(store.checkpoint(name), CPU)
    assert isinstance(ours.generator, ReferenceLoop)
    codec, lm = _loaded_by_audiocraft(store, name)
    _assert_same_state(ours.generator.lm.state_dict(), lm.state_dict())
    tokens = torch.randint(0, 128, (1, 4, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.codec.mono.decode(tokens), codec.decode(tokens), atol=2e-6, rtol=0)
    assert not ours.generator.lm.training


@pytest.mark.parametrize("melody", [None, tone(5), tone(40)], ids=["no melody", "short", "long"])
def test_condition_tensors_equal_those_of_audiocraft(store: WeightStore, melody: np.ndarray | None) -> None:
    _, theirs = _loaded_by_audiocraft(store, "melody")
    conditioner = theirs.condition_provider.conditioners["self_wav"]
    # As in `MusicGen.get_pretrained`; the melody is already separated.
    conditioner.match_len_on_eval, conditioner._use_masking = True, False
    conditioner._get_stemmed_wav = lambda wav, _rate: wav.mean(dim=1, keepdim=True)
    ours = loading.load_model(store.checkpoint("melody"), CPU)
    condition = Condition("a rock song", None if melody is None else torch.from_numpy(melody))
    attributes = adapter.attributes(condition)
    null = ClassifierFreeGuidanceDropout(p=1.0)([attributes])
    with torch.no_grad():
        expected = theirs.condition_provider(theirs.condition_provider.tokenize([attributes, *null]))
    assert isinstance(ours.generator, Engine)
    actual = ours.generator.to_tensors(condition)
    assert not actual.texts and actual.prefix is not None
    assert torch.equal(actual.prefix, torch.cat([expected["self_wav"][0], expected["description"][0]], dim=1))


@pytest.mark.parametrize("engine", ["", "reference"])
def test_loading_draws_no_random_numbers(store: WeightStore, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ENGINE", engine)
    before = torch.get_rng_state()
    for name in KINDS:
        loading.load_model(store.checkpoint(name), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_does_not_affect_initialisation_in_other_threads(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading leaves new weights uninitialised; a network that another thread builds still gets random ones."""
    built: list[torch.Tensor] = []
    build = adapter.build_reference_lm

    def build_beside(*arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as other:
            built.append(other.submit(lambda: torch.nn.Linear(64, 64).weight).result())
        return build(*arguments)

    monkeypatch.setattr(adapter, "build_reference_lm", build_beside)
    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")
    loading.load_model(store.checkpoint("small"), CPU)
    assert built[0].abs().max() <= 1 / 8 and built[0].std() > 0.05, "uniform between -1/8 and 1/8"


def test_loading_uses_no_network(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_arguments: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    model = loading.load_model(store.checkpoint("melody"), CPU)
    loading.load_diffusion(model, store.component(DIFFUSION))
    loading.load_separator(store.component(HTDEMUCS))


# transformers, which loads the reference's text encoder, keeps its file mapped.
@pytest.mark.parametrize(("engine", "parts"), [("", ["small", T5]), ("reference", ["small"])])
def test_loaded_model_does_not_need_its_files(
    own: WeightStore, engine: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are memory-mapped while they are read; replacing them later must have no effect."""
    monkeypatch.setenv("MUSICGEN_ENGINE", engine)
    model = loading.load_model(own.checkpoint("small"), CPU)

    def sound() -> torch.Tensor:
        request = SlotRequest(Condition("rock"), None, 20, Sampling(), torch.Generator().manual_seed(0))
        return model.decode(*model.generate_tokens([request], lambda *_: None))

    before = sound()
    for file in (file for part in parts for file in own.path(part).iterdir()):
        file.write_bytes(b"\xff" * file.stat().st_size)
    assert torch.equal(sound(), before)


def test_codec_may_refer_to_a_hub_repository(own: WeightStore) -> None:
    """As in the released checkpoints of 2023, which name a codec stored in transformers' format."""
    from transformers import EncodecConfig, EncodecModel

    shape: dict[str, Any] = {"num_filters": 4, "hidden_size": 32, "codebook_dim": 32, "codebook_size": 128}
    config = EncodecConfig(
        sampling_rate=32_000,
        audio_channels=1,
        normalize=False,
        chunk_length_s=None,
        upsampling_ratios=[8, 5, 4, 4],
        num_residual_layers=1,
        use_causal_conv=False,
        norm_type="weight_norm",
        pad_mode="reflect",
        # 4 codebooks of 7 bits at 50 frames per second.
        target_bandwidths=[1.4],
        **shape,
    )
    torch.manual_seed(5)
    EncodecModel(config).save_pretrained(own.path(CODEC))
    torch.save({"pretrained": "facebook/encodec_32khz"}, own.path("small") / "compression_state_dict.bin")
    model = loading.load_model(own.checkpoint("small"), CPU)
    sound = 0.1 * torch.randn(1, 32_000)
    codes = model.encode(sound)
    assert codes.shape == (4, 50)
    assert model.decode(codes).shape == (1, 32_000)


def test_text_encoder_inside_the_checkpoint_folder(own: WeightStore) -> None:
    shutil.move(own.path(T5), own.path("small") / T5)
    assert loading.load_model(own.checkpoint("small"), CPU).window == 1500


@pytest.mark.parametrize("has_marks", [True, False])
def test_released_tokenizer_needs_only_tokenizer_json(tmp_path: Path, has_marks: bool) -> None:
    """transformers rebuilds a T5 tokenizer from parts of tokenizer.json; the ids must be those of the file.

    The released folder also has spiece.model, which is not fetched.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5Tokenizer

    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    vocabulary = [(mark, 0.0) for mark in marks.values()]
    vocabulary += [(word, -4.0) for word in ("\u2581", "\u2581lofi", "\u2581rock")]
    vocabulary += [(letter, -9.0) for letter in "abcdefghijklmnopqrstuvwxyz,.0123456789"]
    sentinels = [f"<extra_id_{number}>" for number in range(100)]
    released = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    spaces = pre_tokenizers.Metaspace(prepend_scheme="always")
    released.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    released.decoder = decoders.Metaspace(prepend_scheme="always")
    released.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    released.add_special_tokens([*marks.values(), *sentinels])
    released.save(str(tmp_path / "tokenizer.json"))
    settings: dict[str, object] = {"model_max_length": 512}
    if has_marks:
        settings |= {"additional_special_tokens": sentinels, "extra_ids": 100, **marks}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = T5Tokenizer.from_pretrained(tmp_path)
    for text in ("lofi rock, 90 bpm.", "  two  spaces ", "Größe!", ""):
        assert tokenizer(text)["input_ids"] == released.encode(text).ids


def _assert_same_state(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def _loaded_by_audiocraft(store: WeightStore, name: str) -> tuple[Any, Any]:
    """Codec and language model as audiocraft loads them from the folder, except for the location of T5."""
    package = torch.load(store.path(name) / "state_dict.bin", weights_only=True)
    config = OmegaConf.create(package["xp.cfg"])
    config.conditioners.description.t5.name = str(store.path(T5))
    package["xp.cfg"] = OmegaConf.to_yaml(config)
    folder = store.path(name)
    width = json.loads((store.path(T5) / "config.json").read_text())["d_model"]
    no_separator: Any = SimpleNamespace(sources=["vocals", "other"], to=lambda _device: no_separator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demucs.pretrained, "get_model", lambda _name: no_separator)
        patch.setattr(T5Conditioner, "MODELS", [str(store.path(T5))])
        patch.setattr(T5Conditioner, "MODELS_DIMS", {str(store.path(T5)): width})
        patch.setattr(loaders, "load_lm_model_ckpt", lambda *_args, **_kwargs: package)
        lm = loaders.load_lm_model(folder, device="cpu")
        codec = loaders.load_compression_model(folder, device="cpu")
    return codec, lm
