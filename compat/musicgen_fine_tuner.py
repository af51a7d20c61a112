"""A drop-in for sakemin/musicgen-fine-tuner."""

import re
from typing import Any, Optional

from cog import Input, Path, concurrent

from compat.dropin import DropIn
from musicgen_service.requests import adapter_text
from musicgen_service.serving.stand_in import stand_in


class Predictor(DropIn):
    """Text, melody and continuation with `stereo-melody`, or with an adapter, on the checkpoint that this is for."""

    hosted_as = "sakemin/musicgen-fine-tuner"
    versions = ("b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1",)
    trains = True
    default_model = "stereo-melody"

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Keep the inputs; `replicate_weights` names an adapter, whose base is then the model."""
        adapter = adapter_text.of_weights(inputs.pop("replicate_weights"))
        model = stand_in(self.default_model) if adapter is None else "auto"
        return inputs | {"adapter": adapter, "model_version": model}

    def reword(self, sentence: str) -> str:
        """Name the input `adapter` as this system does; elsewhere in a sentence the word means what was trained."""
        return re.sub(r"^adapter\b", "replicate_weights", sentence)

    @concurrent(max=8)
    async def run(
        self,
        prompt: Optional[str] = Input(
            description="A description of the music you want to generate.",
        ),
        input_audio: Optional[Path] = Input(
            description="An audio file to follow or to continue. With `continuation`, the music goes on from it; without, the music plays its melody.",
        ),
        duration: int = Input(
            description="Duration of the generated audio in seconds.",
            default=8,
        ),
        continuation: bool = Input(
            description="If `True`, the music goes on from `input_audio`. Otherwise, it plays the melody of `input_audio`.",
            default=False,
        ),
        continuation_start: int = Input(
            description="Where the part of `input_audio` to use starts, in seconds.",
            default=0,
            ge=0,
        ),
        continuation_end: Optional[int] = Input(
            description="Where the part of `input_audio` to use ends, in seconds. The end of the file if None.",
            ge=0,
        ),
        multi_band_diffusion: bool = Input(
            description="If `True`, the EnCodec tokens will be decoded with MultiBand Diffusion.",
            default=False,
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
            description="Increases the influence of inputs on the output. Higher values keep more closely to the inputs.",
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
        replicate_weights: Optional[str] = Input(
            description="What was trained: the `weights` that a training returned, or the name of an adapter. The model as it was if None.",
        ),
    ) -> Path:
        """Make one clip."""
        return await self.run_single(locals())
