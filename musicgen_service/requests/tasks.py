"""What each task needs of a request, what it does not look at, and the module of `paths/` that carries it out."""

from dataclasses import dataclass

from musicgen_service.models.catalogue import SEPARATOR

_PART = ("continuation_start", "continuation_end")
_SAMPLING = ("top_k", "top_p", "temperature", "classifier_free_guidance")
_REMIX = ("beat_sync_threshold", "chroma_coefficient")


@dataclass(frozen=True)
class TaskSpec:
    """One task."""

    name: str
    path: str
    """Module of `musicgen_service.paths` whose `generate` carries it out."""
    takes_audio: bool = False
    """Whether it works on input audio, which it then cannot do without."""
    needs_words: bool = False
    """Whether a prompt is needed."""
    needs_tempo: bool = False
    """Whether a tempo is needed, as `bpm` or in the prompt."""
    needs_melody: bool = False
    """Whether the model must take melodies, and the audio must be heard."""
    keeps_audio: bool = False
    """Whether a clip begins with the input audio, so that `duration` must be more than its length."""
    samples_tokens: bool = True
    """Whether tokens are drawn, so that a seed and the words of the prompt count."""
    returns_stems: bool = False
    """Whether `return_stems` may be asked for."""
    follows_first_variation: bool = False
    """Whether the variations go on from the first, so that one of them cannot be made alone."""
    duration: tuple[float, float] | None = None
    """Shortest and longest `duration` in seconds, where it is held to less than the field allows."""
    longest_audio: float | None = None
    """Seconds of input audio at most, where that is less than may be read."""
    components: tuple[str, ...] = ()
    """Shared parts (`catalogue.COMPONENTS`) that must be in the weights folder."""
    component_use: str = ""
    """What they are needed for, as the beginning of a sentence."""
    unused: tuple[str, ...] = ()
    """Inputs that are allowed and have no effect."""


TASKS = {
    task.name: task
    for task in (
        TaskSpec("text", "text", needs_words=True, unused=(*_PART, *_REMIX)),
        TaskSpec("melody", "melody", takes_audio=True, needs_melody=True, unused=_REMIX),
        TaskSpec("continuation", "continuation", takes_audio=True, keeps_audio=True, unused=_REMIX),
        TaskSpec(
            "loop",
            "loop",
            needs_tempo=True,
            follows_first_variation=True,
            duration=(2, 20),
            unused=(*_PART, *_REMIX),
        ),
        TaskSpec(
            "remix",
            "remix",
            takes_audio=True,
            needs_melody=True,
            returns_stems=True,
            longest_audio=600,
            components=(SEPARATOR,),
            component_use="takes the vocals out of the song",
            unused=("duration",),
        ),
        TaskSpec(
            "encode-decode",
            "roundtrip",
            takes_audio=True,
            samples_tokens=False,
            unused=("prompt", "duration", "bpm", *_SAMPLING, *_REMIX),
        ),
    )
}
"""The tasks by name. `auto` stands for one of them: see `rules.resolve`."""
