"""Analysis report of a recording, as text, data and plot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.analysis import beats, chords, key
from musicgen_service.audio.loudness import integrated_loudness
from musicgen_service.audio.reading import Audio

PICTURES = (".png", ".svg", ".pdf")
_LOW_CONFIDENCE = 0.15  # below this, there is probably no pulse


@dataclass(frozen=True)
class Report:
    """Results of analysing `audio`; `key` comes with its confidence."""

    audio: Audio
    grid: beats.BeatGrid
    chords: list[chords.ChordSegment]
    key: tuple[str, float]
    loudness: float

    @property
    def level(self) -> str:
        """The loudness in words."""
        return f"{self.loudness:.1f} LUFS" if np.isfinite(self.loudness) else "silence"

    @property
    def data(self) -> dict[str, Any]:
        """The report in JSON types; times in seconds, None for anything that was not found."""
        grid, (name, confidence) = self.grid, self.key
        has_beats = len(grid.beats) > 0
        return {
            "seconds": self.audio.seconds,
            "channels": self.audio.samples.shape[0],
            "sample_rate": self.audio.rate,
            "loudness_lufs": float(self.loudness) if np.isfinite(self.loudness) else None,
            "tempo_bpm": float(grid.tempo) if has_beats else None,
            "tempo_confidence": float(grid.confidence) if has_beats else None,
            "beats_per_bar": grid.beats_per_bar if has_beats else None,
            "beats": [float(time) for time in grid.beats],
            "downbeats": [float(time) for time in grid.downbeats],
            "key": name if confidence else None,
            "key_confidence": float(confidence) if confidence else None,
            "chords": [{"start": float(start), "end": float(end), "label": label} for start, end, label in self.chords],
        }

    def __str__(self) -> str:
        grid, (name, confidence) = self.grid, self.key
        lines = [f"length      {self.audio.seconds:.2f} s"]
        if len(grid.beats):
            doubt = "; there may be no beat at all" if grid.confidence < _LOW_CONFIDENCE else ""
            lines.append(f"tempo       {grid.tempo:.2f} bpm (confidence {grid.confidence:.2f}{doubt})")
            bars = f"{len(grid.downbeats)} bars in {grid.beats_per_bar}/4"
            bars += f", the first at {grid.downbeats[0]:.2f} s" if len(grid.downbeats) else ""
            lines.append(f"beats       {len(grid.beats)}, the first at {grid.beats[0]:.2f} s; {bars}")
        else:
            lines.append("tempo       no beat found")
        lines.append(f"key         {f'{name} (confidence {confidence:.2f})' if confidence else 'no chords found'}")
        lines.append(f"loudness    {self.level}")
        for number, chord in enumerate(self.chords):
            heading = "chords" if number == 0 else ""
            lines.append(f"{heading:10}  {chord.start:7.2f} {chord.end:7.2f}  {chord.label}")
        return "\n".join(lines)


def analyse(audio: Audio, track: beats.BeatTracker) -> Report:
    """Determine tempo, beats, key, chords and loudness."""
    grid = track(audio.mono, audio.rate, None)
    segments = chords.recognise(audio.mono, audio.rate, grid)
    loudness = integrated_loudness(audio.samples, audio.rate)
    return Report(audio, grid, segments, key.of_chords(segments), loudness)


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
    wave.vlines(report.grid.beats, -1, 1, color="tab:blue", linewidth=0.6, alpha=0.6, label="beats")
    wave.vlines(report.grid.downbeats, -1, 1, color="tab:red", linewidth=1.4, label="bars")
    wave.set(ylim=(-1, 1), ylabel="amplitude", xlim=(0, seconds))
    wave.set_title(f"{report.grid.tempo:.2f} bpm, {report.key[0]}, {report.level}", loc="left")
    wave.legend(loc="upper right")
    palette = [f"C{index}" for index in range(10)]
    for start, end, label in report.chords:
        colour = "0.9" if label == "N" else palette[chords.LABELS.index(label) % 10]
        lane.broken_barh([(start, end - start)], (0, 1), facecolors=colour, edgecolor="white", alpha=0.5)
        lane.text((start + end) / 2, 0.5, label, ha="center", va="center", fontsize=8, clip_on=True)
    lane.set(yticks=[], ylim=(0, 1), xlabel="seconds", ylabel="chords")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
