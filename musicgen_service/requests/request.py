"""A validated request with all defaults resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from musicgen_service.audio.reading import AudioInput
from musicgen_service.notes import note
from musicgen_service.requests import (
    adapter_text,
    chord_text,
    descriptions,
    rules,
    sections,
    tempo,
    time_signature,
    unused,
)
from musicgen_service.requests.adapter_text import NamedAdapter
from musicgen_service.requests.chord_text import Progression
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, check
from musicgen_service.requests.sections import Section
from musicgen_service.requests.tasks import TASKS, TaskSpec
from musicgen_service.requests.time_signature import TimeSignature
from musicgen_service.seeds import variation_seed


@dataclass(frozen=True)
class GenerationRequest:
    """A request that can be carried out: task, model and seed chosen, times in seconds."""

    prompt: str | None
    negative_prompt: str | None
    sections: str | None
    """Lines that `requests.sections` reads."""
    model_version: str
    """An available checkpoint; never `auto`."""
    adapter: str | None
    """In the form of `adapter_text.parse`."""
    task: str
    """A key of `TASKS`; never `auto`."""
    input_audio: AudioInput | None
    duration: float
    continuation: bool
    continuation_start: float
    continuation_end: float | None
    """None: to the end of the file."""
    multi_band_diffusion: bool
    normalization_strategy: str
    top_k: int
    top_p: float
    temperature: float
    classifier_free_guidance: float
    bpm: float | None
    """Never None for a task that needs a tempo, nor with `text_chords`."""
    time_signature: str | None
    text_chords: str | None
    audio_chords: AudioInput | None
    variations: int
    beat_sync_threshold: float
    chroma_coefficient: float
    return_stems: bool
    return_midi: bool
    trim_to_bars: bool
    repeat: int
    fade_in: float
    fade_out: float
    output_format: str
    sample_rate: int | None
    """None: the model's own."""
    bit_depth: int
    seed: int
    """1 to 2^32 - 1; drawn at random when the client gave none."""

    @classmethod
    def from_inputs(
        cls, inputs: Mapping[str, Any], present: Sequence[str], adapters: Mapping[str, str] | None = None
    ) -> "GenerationRequest":
        """Check a client's inputs and resolve what they leave open.

        Parameters
        ----------
        inputs : values by field name; a missing one, or None, takes its default
        present : names of the checkpoints that can be loaded
        adapters : names of the adapters, each with its base; None where they are not known here

        Raises
        ------
        RequestError
            Naming every problem at once.
        """
        values, problems = check(FIELDS, inputs)
        problems += rules.resolve(values, present, adapters)
        if problems:
            raise RequestError(problems)
        _note_choices(values)
        if values["temperature"] < unused.GREEDY_BELOW:
            values["temperature"] = 0.0
        return cls(**values)

    @property
    def spec(self) -> TaskSpec:
        """The requirements of its task."""
        return TASKS[self.task]

    @property
    def adapters(self) -> list[NamedAdapter]:
        """The adapters to apply."""
        return adapter_text.parse(self.adapter) if self.adapter is not None and self.spec.samples_tokens else []

    @property
    def not_streamed(self) -> str | None:
        """Why its first clip cannot be heard while it is made, as a sentence; None where it can."""
        if self.multi_band_diffusion and not self.spec.whole:
            return "multi_band_diffusion decodes a clip as a whole, so it cannot be streamed: leave it out."
        if self.trim_to_bars and not self.spec.whole:
            return "trim_to_bars needs the complete clip, so it cannot be streamed: leave it out."
        return self.spec.not_streamed

    @property
    def needs_separator(self) -> bool:
        """Whether a recording or a clip is taken apart."""
        return self.spec.needs_separator or self.return_stems

    @property
    def separates_clips(self) -> bool:
        """Whether each clip is taken apart into stems when it is made; a remix has its own."""
        return self.return_stems and not self.spec.needs_separator

    @property
    def seeds(self) -> list[int]:
        """The seed of each of its clips."""
        return [variation_seed(self.seed, index) for index in range(self.variations)]

    @property
    def audio_seconds(self) -> float:
        """How much audio it asks for, with variations and repetitions; a loop counts as the longest that it may be."""
        seconds = self.duration
        if self.input_audio is not None and "duration" in self.spec.unused:
            end = self.input_audio.seconds if self.continuation_end is None else self.continuation_end
            seconds = min(end, self.input_audio.seconds) - self.continuation_start
        return seconds * self.variations * (1 if "repeat" in self.spec.unused else self.repeat)

    @property
    def metre(self) -> TimeSignature:
        """The time signature asked for, or else 4/4."""
        return time_signature.read(self.time_signature)

    @property
    def progression(self) -> Progression | None:
        """The chords that `text_chords` asks for."""
        return None if self.text_chords is None else chord_text.read(self.text_chords)

    @property
    def named_key(self) -> str | None:
        """The key that the texts of its chords name, if they name one."""
        progressions = [self.progression, *(part.chords for part in self.parts)]
        keys = {str(chords.key) for chords in progressions if chords is not None and chords.key is not None}
        return keys.pop() if len(keys) == 1 else None

    @property
    def requested_tempo(self) -> float | None:
        """The tempo asked for, in beats per minute: `bpm`, or the only one that the prompt names; None for no tempo."""
        return None if "bpm" in self.spec.unused else descriptions.requested_tempo(self.prompt, self.bpm)

    @property
    def description(self) -> str | None:
        """The text given to the model: the prompt, with the tempo when it names none or leaves a choice of several."""
        return descriptions.described(self.prompt, self.bpm)

    @property
    def parts(self) -> tuple[Section, ...]:
        """Its sections; none where the whole clip has the same description."""
        return () if self.sections is None else sections.read(self.sections, self.prompt, self.bpm, self.metre)

    @property
    def section_times(self) -> list[tuple[str, float, float]]:
        """Name, start and end of each section, in seconds of the clip."""
        parts = self.parts
        # Those of a continuation begin where its audio ends.
        before = self.duration - parts[-1].end if parts else 0.0
        return [(part.name, before + part.start, before + part.end) for part in parts]

    def described(self, part: Section) -> tuple[str | None, str | None]:
        """The texts given to the model for a section: what it should be like, and what it should not be like."""
        wanted = descriptions.joined(self.prompt, part.words)
        return descriptions.described(wanted, self.bpm), descriptions.joined(self.negative_prompt, part.negative_words)

    def as_inputs(self) -> dict[str, Any]:
        """The fields by name, in the form that `from_inputs` accepts."""
        return dict(vars(self))


def _note_choices(values: Mapping[str, Any]) -> None:
    """Note inputs that have no effect in a valid request, and choices made on the client's behalf."""
    for sentence in unused.without_effect(values, {name: field.default for name, field in FIELDS.items()}):
        note(sentence)
    prompt, bpm = values["prompt"], values["bpm"]
    if prompt is None or not TASKS[values["task"]].samples_tokens:
        return
    named = tempo.read(prompt)
    if bpm is not None and descriptions.is_open(named):
        note(f"The prompt says {tempo.listed(named)}; {bpm:g} bpm is used.")
    elif len(named) > 1:
        note(f"The prompt says {tempo.listed(named)}, and the music may follow any of them.")


assert [f.name for f in fields(GenerationRequest)] == list(FIELDS)
