"""A drop-in for meta/musicgen:7a76a825."""

from typing import Any, Optional

from cog import Input, Path, concurrent

from compat.dropin import DropIn, prompt_seconds
from musicgen_service.models.store import WeightStore
from musicgen_service.notes import note
from musicgen_service.serving.stand_in import stand_in


class Predictor(DropIn):
    """Text, melody and continuation with `melody` and `large`, and encode-decode."""

    hosted_as = "meta/musicgen"
    versions = ("7a76a8258b23fae65c5a22debb8841d1d7e816b75c2f24218cd2bd8573787906",)
    default_model = "melody"

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Convert `duration` to the total length: in this system it excludes the continued audio."""
        model = inputs.pop("model_version")
        if model == "encode-decode":
            taken = ("input_audio", "normalization_strategy", "output_format", "seed")
            for name in inputs:
                if name not in taken and inputs[name] != self.fields[name].default:
                    note(f"{name} has no effect on model_version '{model}'.")
            return {name: inputs[name] for name in taken} | {"task": model, "model_version": codec_model()}
        follows = inputs["input_audio"] is not None and not inputs["continuation"]
        if inputs["continuation"]:
            inputs["duration"] += prompt_seconds(inputs)
        return inputs | {"model_version": self.checkpoint(model, follows_melody=follows)}

    @concurrent(max=8)
    async def run(
        self,
        model_version: str = Input(
            description="Model to use for generation. If set to 'encode-decode', the audio specified via 'input_audio' will simply be encoded and then decoded.",
            default="melody",
            choices=["melody", "large", "encode-decode"],
        ),
        prompt: Optional[str] = Input(
            description="A description of the music you want to generate.",
        ),
        input_audio: Optional[Path] = Input(
            description="An audio file that will influence the generated music. If `continuation` is `True`, the generated music will be a continuation of the audio file. Otherwise, the generated music will mimic the audio file's melody.",
        ),
        duration: int = Input(
            description="Duration of the generated audio in seconds.",
            default=8,
            le=30,
        ),
        continuation: bool = Input(
            description="If `True`, generated music will continue `melody`. Otherwise, generated music will mimic `audio_input`'s melody.",
            default=False,
        ),
        continuation_start: int = Input(
            description="Start time of the audio file to use for continuation.",
            default=0,
            ge=0,
        ),
        continuation_end: Optional[int] = Input(
            description="End time of the audio file to use for continuation. If -1 or None, will default to the end of the audio clip.",
        ),
        normalization_strategy: str = Input(
            description="Strategy for normalizing audio.",
            default="loudness",
            choices=["loudness", "clip", "peak", "rms"],
        ),
        top_k: int = Input(
            description="Reduces sampling to the k most likely tokens.",
            default=250,
        ),
        top_p: float = Input(
            description="Reduces sampling to tokens with cumulative probability of p. When set to `0` (default), top_k sampling is used.",
            default=0,
        ),
        temperature: float = Input(
            description="Controls the 'conservativeness' of the sampling process. Higher temperature means more diversity.",
            default=1,
        ),
        classifier_free_guidance: int = Input(
            description="Increases the influence of inputs on the output. Higher values produce lower-varience outputs that adhere more closely to inputs.",
            default=3,
        ),
        output_format: str = Input(
            description="Output format for generated audio.",
            default="wav",
            choices=["wav", "mp3"],
        ),
        seed: Optional[int] = Input(
            description="Seed for random number generator. If None or -1, a random seed will be used.",
        ),
    ) -> Path:
        """Make one clip."""
        return await self.run_single(locals())


def codec_model() -> str:
    """A mono checkpoint whose codec encodes and decodes; `melody` and `large` have the same one."""
    present = WeightStore.from_environment().present()
    return stand_in("large" if "large" in present and "melody" not in present else "melody")
