"""A drop-in for aaronbesson/m3maker:efb8234f."""

from typing import Optional

from cog import Input, Path, concurrent

from compat import meta_musicgen


class Predictor(meta_musicgen.Predictor):
    """meta/musicgen with clips of up to a minute."""

    hosted_as = "aaronbesson/m3maker"
    versions = ("efb8234f",)

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
            le=60,
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
            description="Seed for random number generator. If None or -1, a random seed will be used.",
        ),
    ) -> Path:
        """Make one clip."""
        return await self.run_single(locals())
