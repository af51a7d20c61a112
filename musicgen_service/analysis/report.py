"""Analysis report of a recording, as text, data and plot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.analysis import beats, chords
from musicgen_service.analysis.chord_labels import LABELS, NO_CHORD
from musicgen_service.analysis.clear_bars import has_clear_bars
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.audio.reading import Audio

PICTURES = (".png", ".svg", ".pdf")
_SAME_TEMPO = 0.04  # relative difference below which two tempi are the same
_WORTH_SAYING = 0.1  # confidence in an alternative
_SILENT = 1e-3  # peak amplitude below which a plot is not scaled up


@dataclass(frozen=True)
class Report:
    """Results of analysing `audio`."""

    audio: Audio
    grid: beats.BeatGrid
    harmony: chords.Harmony
    loudness: float

    @property
    def key(self) -> tuple[str, float] | None:
        """The likeliest key with the confidence in it; None where none was heard."""
        return next(iter(self.harmony.keys), None)

    @property
    def level(self) -> str:
        """The loudness in words."""
        return f"{self.loudness:.1f} LUFS" if np.isfinite(self.loudness) else "silence"

    @property
    def title(self) -> str:
        """Tempo, key and loudness in one line, which names no key that is in doubt and marks such a tempo."""
        doubt = "" if self.grid.confidence >= beats.LOW_CONFIDENCE else "?"
        tempo = f"{self.grid.tempo:.2f} bpm{doubt}" if len(self.grid.beats) else "no beat"
        key = self.harmony.clear_key or ("no clear key" if self.key else "no key")
        return f"{tempo}, {key}, {self.level}"

    @property
    def data(self) -> dict[str, Any]:
        """The report in JSON types; times in seconds, None for anything that was not found."""
        grid, harmony = self.grid, self.harmony
        name, confidence = self.key or (None, None)
        has_beats = len(grid.beats) > 0
        return {
            "seconds": self.audio.seconds,
            "channels": self.audio.samples.shape[0],
            "sample_rate": self.audio.rate,
            "loudness_lufs": float(self.loudness) if np.isfinite(self.loudness) else None,
            "tempo_bpm": float(grid.tempo) if has_beats else None,
            "tempo_confidence": float(grid.confidence) if has_beats else None,
            "tempo_alternatives": [
                {"tempo_bpm": float(other.tempo), "metre": other.metre, "confidence": other.confidence}
                for other in grid.alternatives
            ],
            "metre": grid.metre if has_beats else None,
            "metre_confidence": float(grid.metre_confidence) if has_beats else None,
            "beats_per_bar": grid.beats_per_bar if has_beats else None,
            "beats": [float(time) for time in grid.beats],
            "downbeats": [float(time) for time in grid.downbeats],
            "key": name,
            "key_confidence": confidence,
            "key_alternatives": _named("key", harmony.keys[1:]),
            "chords": [
                {
                    **segment._asdict(),
                    "confidence": dict(candidates).get(segment.label, 0.0),
                    "alternatives": _named("label", [named for named in candidates if named[0] != segment.label]),
                }
                for segment, candidates in zip(harmony.chords, harmony.candidates, strict=True)
            ],
        }

    def __str__(self) -> str:
        grid = self.grid
        lines = [f"length      {self.audio.seconds:.2f} s"]
        if len(grid.beats):
            doubt = "; there may be no beat at all" if grid.confidence < beats.LOW_CONFIDENCE else ""
            # Others of the same tempo have their beats elsewhere, which one line cannot tell; `--json` has them.
            others = [
                other
                for other in grid.alternatives
                if other.confidence >= _WORTH_SAYING and abs(other.tempo / grid.tempo - 1) > _SAME_TEMPO
            ]
            alternatives = "".join(f", or {other.tempo:.2f} ({other.confidence:.2f})" for other in others)
            lines.append(f"tempo       {grid.tempo:.2f} bpm (confidence {grid.confidence:.2f}{doubt}){alternatives}")
            doubt = "" if has_clear_bars(grid) else "; they may begin on other beats"
            bars = f"{len(grid.downbeats)} bars in {grid.metre} (confidence {grid.metre_confidence:.2f}{doubt})"
            bars += f", the first at {grid.downbeats[0]:.2f} s" if len(grid.downbeats) else ""
            lines.append(f"beats       {len(grid.beats)}, the first at {grid.beats[0]:.2f} s; {bars}")
        else:
            lines.append("tempo       no beat found")
        if self.key:
            name, confidence = self.key
            doubt = "" if self.harmony.clear_key else "; there may be no key at all"
            lines.append(f"key         {name} (confidence {confidence:.2f}{doubt})")
        else:
            lines.append("key         no key found")
        lines.append(f"loudness    {self.level}")
        for number, chord in enumerate(self.harmony.chords):
            heading = "chords" if number == 0 else ""
            lines.append(f"{heading:10}  {chord.start:7.2f} {chord.end:7.2f}  {chord.label}")
        return "\n".join(lines)


def _named(what: str, candidates: chords.Candidates) -> list[dict[str, Any]]:
    return [{what: name, "confidence": confidence} for name, confidence in candidates]


def analyse(audio: Audio, track: beats.BeatTracker, recognise: chords.ChordRecogniser) -> Report:
    """Determine tempo, beats, key, chords and loudness."""
    grid = track(audio.mono, audio.rate, None)
    harmony = recognise(audio.mono, audio.rate, grid)
    return Report(audio, grid, harmony, integrated_loudness(audio.samples, audio.rate))


def plot(report: Report, path: Path) -> None:
    """Plot the waveform with the beat grid, and the chords below it; `path` ends in one of PICTURES."""
    # Imported here: the import takes a second, and nothing else needs it.
    from matplotlib.figure import Figure

    audio, seconds = report.audio, report.audio.seconds
    figure = Figure(figsize=(float(np.clip(seconds / 2.5, 8, 40)), 4), layout="constrained")
    wave, lane = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    mono = audio.mono
    columns = min(4000, len(mono))
    edges = np.linspace(0, len(mono), columns, endpoint=False).astype(int)
    times = edges / audio.rate
    low, high = np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)
    wave.fill_between(times, low, high, color="0.55", linewidth=0.3)
    # A quiet recording fills the picture too; the scale tells how loud it is.
    top = 1.05 * max(float(np.abs(mono).max(initial=0.0)), _SILENT)
    wave.vlines(report.grid.beats, -top, top, color="tab:blue", linewidth=0.6, alpha=0.6, label="beats")
    wave.vlines(report.grid.downbeats, -top, top, color="tab:red", linewidth=1.4, label="bars")
    wave.set(ylim=(-top, top), ylabel="amplitude", xlim=(0, seconds))
    wave.set_title(report.title, loc="left")
    wave.legend(loc="upper right")
    palette = [f"C{index}" for index in range(10)]
    for start, end, label in report.harmony.chords:
        colour = "0.9" if label == NO_CHORD else palette[LABELS.index(label) % 10]
        lane.broken_barh([(start, end - start)], (0, 1), facecolors=colour, edgecolor="white", alpha=0.5)
        lane.text((start + end) / 2, 0.5, label, ha="center", va="center", fontsize=8, clip_on=True)
    lane.set(yticks=[], ylim=(0, 1), xlabel="seconds", ylabel="chords")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
