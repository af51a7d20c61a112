"""A drop-in for multitrickfox/musicgen_custom."""

from typing import Any, Optional

from cog import Input, Path, concurrent

from compat.dropin import DropIn


class Predictor(DropIn):
    """Text, melody and continuation with eight models; `duration` is the total length, as in our own requests."""

    hosted_as = "multitrickfox/musicgen_custom"
    # The latest version of meta/musicgen, which has half of the models and else the same inputs.
    versions = ("671ac645ce5e552cc63a54a2bbff63fcf798043055d2dac5fc9e36a837eedcfb",)
    default_model = "stereo-melody-large"

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Keep the inputs; only the checkpoint may differ."""
        follows = inputs["input_audio"] is not None and not inputs["continuation"]
        return inputs | {"model_version": self.checkpoint(inputs["model_version"], follows_melody=follows)}

    @concurrent(max=8)
    async def run(
        self,
        model_version: str = Input(
            description="Model to use for generation",
            default="stereo-melody-large",
            choices=[
                "stereo-melody-large",
                "stereo-large",
                "melody-large",
                "large",
                "stereo-melody",
                "stereo-medium",
                "melody",
                "medium",
            ],
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
        ),
        continuation: bool = Input(
            description="If `True`, generated music will continue from `input_audio`. Otherwise, generated music will mimic `input_audio`'s melody.",
            default=False,
        ),
        continuation_start: int = Input(
            description="Start time of the audio file to use for continuation.",
            default=0,
            ge=0,
        ),
        continuation_end: Optional[int] = Input(
            description="End time of the audio file to use for continuation. If -1 or None, will default to the end of the audio clip.",
            ge=0,
        ),
        multi_band_diffusion: bool = Input(
            description="If `True`, the EnCodec tokens will be decoded with MultiBand Diffusion. Only works with non-stereo models.",
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
