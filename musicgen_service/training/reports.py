"""What a training leaves to read: its losses as a table and a picture, and the card of the adapter."""

import csv
from collections.abc import Sequence
from pathlib import Path

from musicgen_service import __version__
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.training.files import atomic
from musicgen_service.training.layout import PICTURE, TABLE
from musicgen_service.training.listening import Song
from musicgen_service.training.options import Options
from musicgen_service.training.trainer import History

_SMOOTHED = 10
"""Steps over which the picture's losses of steps are averaged."""


def write_losses(history: History, folder: Path) -> None:
    """Write the losses of all steps and evaluations as a table, and draw them."""
    held_out = dict(history.held_out)
    steps = dict(history.steps)
    with atomic(folder / TABLE) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "held_out_loss"])
        for step in sorted(held_out.keys() | steps.keys()):
            writer.writerow([step, *(f"{losses[step]:.5f}" if step in losses else "" for losses in (steps, held_out))])
    _draw(history, folder / PICTURE)


def _draw(history: History, path: Path) -> None:
    # Imported here: the import takes a second.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    losses = [loss for _, loss in history.steps]
    means = [sum(part) / len(part) for part in (losses[max(0, i - _SMOOTHED) : i] for i in range(1, len(losses) + 1))]
    axes.plot([step for step, _ in history.steps], means, color="0.6", label=f"songs, mean of {_SMOOTHED} steps")
    axes.plot(*zip(*history.held_out, strict=True), marker="o", color="tab:blue", label="held-out songs")
    best, lowest = history.best
    axes.axhline(history.held_out[0][1], color="tab:red", linewidth=0.8, linestyle="--", label="base model")
    axes.annotate(f"{lowest:.3f}", (best, lowest), textcoords="offset points", xytext=(0, -14), ha="center")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend()
    with atomic(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def card(options: Options, songs: Sequence[Song], held_out: Sequence[str], history: History) -> str:
    """The card of an adapter, in Markdown.

    Parameters
    ----------
    held_out : names of the songs that it was measured on
    """
    base, (best, lowest), before = CHECKPOINTS[options.base], history.best, history.held_out[0][1]
    used = [song for song in songs if not song.problem]
    prompt = f"`{options.trigger}, ...`" if options.trigger else "any prompt"
    lines = [
        f"# {options.name}",
        "",
        f"A LoRA for MusicGen's `{base.name}`, in PEFT's format, trained with musicgen-service {__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| base | `{base.hub_id or base.name}` |",
        f"| licence of the base | {base.licence}; an adapter is for what its base may be used for |",
        f"| prompts | {prompt} |",
        f"| rank, alpha | {options.rank}, {options.alpha}, on {', '.join(options.targets)} |",
        f"| steps | {best} of {len(history.steps)}, the best on held-out songs; {options.batch} clips of up to "
        f"{options.crop:g} s each |",
        f"| learning rate, seed | {options.rate:g}, {options.seed} |",
        f"| held-out loss | {before:.4f} before, {lowest:.4f} after ({100 * (lowest / before - 1):+.1f} %), "
        f"on {', '.join(held_out)} |",
        "",
        "## Songs",
        "",
        "| song | seconds | SHA-256 | caption |",
        "|---|---|---|---|",
    ]
    for song in used:
        caption = ", ".join(part for part in (options.trigger, song.caption) if part)
        cells = [song.name, f"{song.seconds:.1f}", f"`{song.sha256}`", caption]
        lines.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
