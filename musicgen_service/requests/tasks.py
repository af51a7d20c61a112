"""The tasks: the inputs each requires or ignores, and the module of `paths/` that carries it out."""

from dataclasses import dataclass

_PART = ("continuation_start", "continuation_end")
_SAMPLING = ("top_k", "top_p", "temperature", "classifier_free_guidance")
_REMIX = ("beat_sync_threshold", "chroma_coefficient")
_LOOP = ("repeat",)


@dataclass(frozen=True)
class TaskSpec:
    """One task."""

    name: str
    path: str
    """Module of `musicgen_service.paths` whose `generate` carries it out."""
    takes_audio: bool = False
    """Whether it works on input audio, which is then required."""
    needs_prompt: bool = False
    """Whether a prompt is required."""
    needs_tempo: bool = False
    """Whether a tempo is required, as `bpm` or in the prompt."""
    needs_melody: bool = False
    """Whether the model must accept melodies, and the audio must not be silent."""
    takes_chords: bool = False
    """Whether `text_chords` and `audio_chords` are allowed."""
    needs_chords: bool = False
    """Whether one of them is required."""
    keeps_audio: bool = False
    """Whether a clip begins with the input audio, so that `duration` must be more than its length."""
    takes_sections: bool = False
    """Whether `sections` is allowed."""
    repaints: bool = False
    """Whether `continuation_start` and `continuation_end` say what is made anew, and all else of the audio is kept."""
    samples_tokens: bool = True
    """Whether tokens are sampled, so that the seed and the prompt have an effect."""
    stems: tuple[str, ...] = ("vocals", "accompaniment", "drums", "bass", "other")
    """What `return_stems` may return: which of them depends on the separator. None where nothing is made."""
    follows_first_variation: bool = False
    """Whether variations continue from the first, so that one of them cannot be generated alone."""
    duration: tuple[float, float] | None = None
    """Minimum and maximum `duration` in seconds, where these are narrower than the field's bounds."""
    max_audio_seconds: float | None = None
    """Maximum seconds of input audio, where that is less than the decoder's limit."""
    needs_separator: bool = False
    """Whether the vocals are separated from the input audio."""
    whole: str = ""
    """Why its audio cannot be heard while it is made, as a clause; empty where it can."""
    unused: tuple[str, ...] = ()
    """Inputs that are allowed but have no effect."""

    @property
    def not_streamed(self) -> str | None:
        """Why its audio cannot be heard while it is made, as a sentence; None where it can."""
        return f"Task '{self.name}' cannot be streamed: {self.whole}." if self.whole else None


TASKS = {
    task.name: task
    for task in (
        TaskSpec("text", "text", needs_prompt=True, takes_sections=True, unused=(*_PART, *_REMIX, *_LOOP)),
        TaskSpec(
            "melody", "melody", takes_audio=True, needs_melody=True, takes_sections=True, unused=(*_REMIX, *_LOOP)
        ),
        TaskSpec(
            "chords",
            "chords",
            takes_chords=True,
            needs_chords=True,
            needs_melody=True,
            takes_sections=True,
            unused=("beat_sync_threshold", *_LOOP),
        ),
        TaskSpec(
            "continuation",
            "continuation",
            takes_audio=True,
            takes_chords=True,
            keeps_audio=True,
            takes_sections=True,
            unused=("beat_sync_threshold", *_LOOP),
        ),
        TaskSpec(
            "loop",
            "loop",
            needs_tempo=True,
            takes_chords=True,
            follows_first_variation=True,
            duration=(2, 20),
            whole="a loop is cut out of its music when that is complete",
            unused=(*_PART, "beat_sync_threshold", "trim_to_bars"),
        ),
        TaskSpec(
            "remix",
            "remix",
            takes_audio=True,
            needs_melody=True,
            stems=("backing", "vocals"),
            max_audio_seconds=600,
            needs_separator=True,
            whole="a remix is mixed when its backing is complete",
            unused=("duration", "time_signature", *_LOOP),
        ),
        TaskSpec(
            "repaint",
            "repaint",
            takes_audio=True,
            repaints=True,
            whole="the part is chosen among several when they are complete",
            unused=("duration", "normalization_strategy", "time_signature", *_REMIX, *_LOOP),
        ),
        TaskSpec(
            "encode-decode",
            "roundtrip",
            takes_audio=True,
            samples_tokens=False,
            stems=(),
            whole="there is nothing to generate",
            unused=(
                *("prompt", "negative_prompt", "adapter", "duration", "bpm", "time_signature"),
                *(*_SAMPLING, *_REMIX, *_LOOP),
            ),
        ),
    )
}
"""The tasks by name. `auto` stands for one of them: see `rules.resolve`."""
