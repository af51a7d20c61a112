"""A drop-in for sakemin/musicgen-remixer:7f15a497."""

from typing import Any, ClassVar, Optional

from cog import Input, Path, concurrent

from compat.dropin import DropIn
from musicgen_service.serving.stand_in import stand_in


class Predictor(DropIn):
    """A new backing for the vocals of a song. The original's model is the `melody` checkpoint under another name."""

    hosted_as = "sakemin/musicgen-remixer"
    versions = ("7f15a497",)
    default_model = "melody"
    names: ClassVar = {"input_audio": "music_input"}

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A remix of `music_input`."""
        song = inputs.pop("music_input")
        return inputs | {"task": "remix", "model_version": stand_in("melody"), "input_audio": song}

    @concurrent(max=8)
    async def run(
        self,
        prompt: Optional[str] = Input(
            description="A description of the music you want to generate.",
        ),
        music_input: Optional[Path] = Input(
            description="An audio file input for the remix.",
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
        beat_sync_threshold: float = Input(
            description="When beat syncing, if the gap between generated downbeat timing and input audio downbeat timing is larger than `beat_sync_threshold`, consider the beats are not corresponding.",
            default=0.75,
        ),
        chroma_coefficient: float = Input(
            description="Coefficient value multiplied to multi-hot chord chroma.",
            default=1,
            ge=0.5,
            le=2,
        ),
        top_k: int = Input(
            description="Reduces sampling to the k most likely tokens.",
            default=250,
        ),
        top_p: float = Input(
            description="Reduces sampling to tokens with cumulative probability of p. When set to  `0` (default), top_k sampling is used.",
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
            description="Seed for random number generator. If `None` or `-1`, a random seed will be used.",
        ),
    ) -> Path:
        """Make one remix."""
        return await self.run_single(locals())
