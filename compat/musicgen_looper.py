"""A drop-in for andreasjansson/musicgen-looper:fd5be669."""

from typing import Any, ClassVar

from cog import BaseModel, Input, Path, concurrent

from compat.dropin import DropIn
from musicgen_service.requests import tempo


class Outputs(BaseModel):
    """The loops. As `Optional[Path]` Cog would publish them as nullable, which the original does not."""

    variation_01: Path = None
    variation_02: Path = None
    variation_03: Path = None
    variation_04: Path = None
    variation_05: Path = None
    variation_06: Path = None
    variation_07: Path = None
    variation_08: Path = None
    variation_09: Path = None
    variation_10: Path = None
    variation_11: Path = None
    variation_12: Path = None
    variation_13: Path = None
    variation_14: Path = None
    variation_15: Path = None
    variation_16: Path = None
    variation_17: Path = None
    variation_18: Path = None
    variation_19: Path = None
    variation_20: Path = None


class Predictor(DropIn):
    """Loops at an exact tempo: the first one and variations that continue from it."""

    hosted_as = "andreasjansson/musicgen-looper"
    versions = ("fd5be669",)
    default_model = "medium"
    names: ClassVar = {"duration": "max_duration"}

    def as_request(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A loop of at most `max_duration` seconds with peak normalisation, as in the original."""
        duration, model = inputs.pop("max_duration"), self.checkpoint(inputs["model_version"])
        bpm = inputs["bpm"]
        if bpm == self.fields["bpm"].default and not tempo.allows(tempo.read(inputs["prompt"] or ""), bpm):
            inputs["bpm"] = None  # probably not chosen by the client: use the prompt's own tempo
        fixed = {"task": "loop", "normalization_strategy": "peak", "model_version": model, "duration": duration}
        return inputs | fixed

    @concurrent(max=8)
    async def run(
        self,
        prompt: str = Input(
            description="A description of the music you want to generate.",
        ),
        bpm: float = Input(
            description="Tempo in beats per minute",
            default=140,
            ge=40,
            le=300,
        ),
        variations: int = Input(
            description="Number of variations to generate",
            default=4,
            ge=1,
            le=20,
        ),
        max_duration: int = Input(
            description="Maximum duration of the generated loop in seconds.",
            default=8,
            ge=2,
            le=20,
        ),
        model_version: str = Input(
            description="Model to use for generation. .",
            default="medium",
            choices=["medium", "large"],
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
        seed: int = Input(
            description="Seed for random number generator. If None or -1, a random seed will be used.",
            default=-1,
        ),
    ) -> Outputs:
        """Make the loops; one that fails leaves no gap among the names."""
        loops = await self.run_request(locals())
        return Outputs(**{f"variation_{number:02d}": loop for number, loop in enumerate(loops, 1)})
