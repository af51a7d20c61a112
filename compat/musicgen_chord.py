"""A drop-in for sakemin/musicgen-chord:64da4f83."""

from collections.abc import Mapping
from typing import Any, ClassVar, Optional

from cog import Input, Path, concurrent

from compat.dropin import DropIn
from musicgen_service.serving.stand_in import stand_in


class Predictor(DropIn):
    """Music on chords, of a text or of a recording. The original's model is `melody`, trained further."""

    hosted_as = "sakemin/musicgen-chord"
    versions = ("64da4f83",)
    default_model = "melody"
    names: ClassVar = {
        "input_audio": "audio_chords",
        "continuation_start": "audio_start",
        "continuation_end": "audio_end",
        "time_signature": "time_sig",
    }
    checkpoints: ClassVar[Mapping[str, str]] = {}
    """The checkpoint that plays each choice of `model_version`."""

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A continuation of `audio_chords`, or music on its chords, on those of the text, or on none."""
        model = self.checkpoints.get(inputs.pop("model_version", ""), self.default_model)
        audio, signature = inputs.pop("audio_chords"), inputs.pop("time_sig")
        own = {ours: inputs.pop(theirs) for ours, theirs in self.names.items() if theirs in inputs}
        source = "input_audio" if inputs["continuation"] else "audio_chords"
        request = inputs | own | {source: audio, "model_version": stand_in(model)}
        if inputs["text_chords"]:
            # The original puts it into the prompt as well.
            prompt = ", ".join(text for text in (inputs["prompt"], signature) if text)
            request |= {"time_signature": signature, "prompt": prompt}
        return request

    @concurrent(max=8)
    async def run(
        self,
        prompt: Optional[str] = Input(
            description="A description of the music you want to generate.",
        ),
        text_chords: Optional[str] = Input(
            description="Chords to play, bar by bar, and again from the first one. A space separates bars and a comma the chords of a bar. A chord is a root, or a root, a colon and one of maj, min, dim, aug, min6, maj6, min7, minmaj7, maj7, 7, dim7, hdim7, sus2 and sus4.",
        ),
        bpm: Optional[float] = Input(
            description="Tempo of `text_chords` in beats per minute.",
        ),
        time_sig: Optional[str] = Input(
            description="Time signature of `text_chords`.",
        ),
        audio_chords: Optional[Path] = Input(
            description="An audio file whose chords to play. With `continuation`, an audio file to continue.",
        ),
        audio_start: int = Input(
            description="Where the part of `audio_chords` to use starts, in seconds.",
            default=0,
            ge=0,
        ),
        audio_end: Optional[int] = Input(
            description="Where the part of `audio_chords` to use ends, in seconds. The end of the file if None.",
            ge=0,
        ),
        duration: int = Input(
            description="Duration of the generated audio in seconds.",
            default=8,
        ),
        continuation: bool = Input(
            description="If `True`, generated music will continue from `audio_chords`.",
            default=False,
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
        chroma_coefficient: float = Input(
            description="How strongly the chords are imposed.",
            default=1,
            ge=0.5,
            le=2.5,
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
    ) -> Path:
        """Make one clip."""
        return await self.run_single(locals())
