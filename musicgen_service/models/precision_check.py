"""Which precision is fastest on this machine and close enough to float32: measured once, and kept beside the weights.

A precision may differ from float32 by so much, in what it predicts for clips that the model made itself, with guidance
as in use: a mean divergence of `MAX_NATS`, and the same likeliest token for a share of `MIN_AGREEMENT`.
"""

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch.nn import functional

from musicgen_service import __version__, threads
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.precision import Precision, supported
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import CheckpointFiles
from musicgen_service.progress import log

TEXTS = ("a slow rock song with guitar and drums , 90 bpm", "fast jazz piano", "lofi , 120 bpm")
MAX_NATS, MIN_AGREEMENT = 0.01, 0.97
FOLDER = "precision"
"""Name of the folder of what was found, inside the weights folder."""
_FRAMES = 75
_WARM_UP = 5
_CLIPS = 2
_MOST_CHANGE = 1.15
"""Of the time of a step while all precisions are measured; in more, something else ran."""

Load = Callable[[Precision], MusicGenModel]
"""Loads the checkpoint in a precision."""


@dataclass(frozen=True)
class Finding:
    """What was measured of a precision.

    Attributes
    ----------
    nats : mean divergence of its predictions from float32's
    agreement : share of tokens of which the likeliest is the same
    step : seconds of a step, the median of those measured
    """

    nats: float
    agreement: float
    step: float

    @property
    def passes(self) -> bool:
        """Whether it is close enough to float32."""
        return passes(self.nats, self.agreement)


_FINDINGS = TypeAdapter(dict[Precision, Finding])


def fastest(files: CheckpointFiles, device: torch.device, load: Load) -> Precision:
    """Return the fastest precision that is close enough to float32, as it was found before, or by measuring.

    Parameters
    ----------
    files : of the checkpoint
    load : loads it; one model at a time is kept
    """
    file = files.language_model.parent.parent / FOLDER / f"{files.name}-{_fingerprint(files, device)}.json"
    findings = _read(file)
    if findings is None:
        log(f"measuring which precision of '{files.name}' is fastest here, once")
        findings, is_steady = _measure(device, load)
        if is_steady:
            _keep(file, findings)
        else:
            log("the machine was busy with other work, so it is measured again at the next start")
    best = min((name for name, found in findings.items() if found.passes), key=lambda name: findings[name].step)
    log(f"precision of '{files.name}': {best} ({'; '.join(map(_said, findings.items()))})")
    return best


def clip(model: MusicGenModel, text: str, frames: int) -> torch.Tensor:
    """Generate a clip int64 [codebooks, frames] with a seed that is always the same."""
    generator = torch.Generator(model.device).manual_seed(0)
    [tokens] = model.generate_tokens(
        [SlotRequest(Condition(text), None, frames, Sampling(), generator)], lambda *_: None
    )
    return tokens


def predictions(model: MusicGenModel, clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log-probabilities [tokens, card] of clips with `TEXTS`; on a CPU by steps, whose products are not a prefill's."""
    assert isinstance(model.generator, Engine)
    score = model.generator.score if model.device.type == "cuda" else model.generator.step_scores
    found = [score(Condition(text), tokens, Sampling().guidance) for text, tokens in zip(TEXTS, clips, strict=True)]
    return torch.cat(found).flatten(0, 1).log_softmax(-1)


def compare(truth: torch.Tensor, predicted: torch.Tensor) -> tuple[float, float]:
    """Compare log-probabilities [..., card]: mean divergence in nats, and the share with the same likeliest token."""
    nats = functional.kl_div(predicted, truth, reduction="sum", log_target=True) / truth[..., 0].numel()
    return float(nats), float((truth.argmax(-1) == predicted.argmax(-1)).float().mean())


def passes(nats: float, agreement: float) -> bool:
    """Whether a precision is as close to float32 as those that we offer have to be."""
    return nats <= MAX_NATS and agreement >= MIN_AGREEMENT


def _measure(device: torch.device, load: Load) -> tuple[dict[Precision, Finding], bool]:
    """Measure all precisions, and whether steps took as long at the end as at the beginning, without other work."""
    exact = load(Precision.EXACT)
    clips = [clip(exact, text, _FRAMES) for text in TEXTS]
    truth = predictions(exact, clips)
    before = _step(exact)
    del exact
    findings = {Precision.EXACT: Finding(0.0, 1.0, before)}
    for precision in supported(device):
        if precision is not Precision.EXACT:
            model = load(precision)
            findings[precision] = Finding(*compare(truth, predictions(model, clips)), _step(model))
            del model
    after = _step(load(Precision.EXACT))
    return findings, max(before, after) <= _MOST_CHANGE * min(before, after)


def _step(model: MusicGenModel) -> float:
    """Seconds of a step of one clip, the least of the medians of some clips."""
    return min(_median_step(model) for _ in range(_CLIPS))


def _median_step(model: MusicGenModel) -> float:
    stamps: list[float] = []

    def stamp(*_steps: int) -> None:
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)
        stamps.append(time.perf_counter())

    request = SlotRequest(Condition(TEXTS[0]), None, _FRAMES, Sampling(), torch.Generator(model.device).manual_seed(0))
    model.generate_tokens([request], stamp)
    # The median: this thread is told of steps, and sometimes of two at once.
    return statistics.median(after - before for before, after in pairwise(stamps[_WARM_UP:]))


def _fingerprint(files: CheckpointFiles, device: torch.device) -> str:
    """Of what the findings depend on: the file, the machine, and the versions of torch and of this program."""
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        information = Path("/proc/cpuinfo")
        lines = information.read_text().splitlines() if information.is_file() else []
        machine = next((line for line in lines if line.startswith("model name")), "") + str(threads.limit())
    stored = files.language_model.stat()
    parts = (machine, torch.__version__, __version__, str(stored.st_size), str(stored.st_mtime_ns))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _read(file: Path) -> dict[Precision, Finding] | None:
    try:
        kept = _FINDINGS.validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None  # not there, or damaged: it is measured anew
    return kept if Precision.EXACT in kept else None


def _keep(file: Path, findings: dict[Precision, Finding]) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")  # several processes may measure at the same time
        partial.write_text(json.dumps({name: asdict(found) for name, found in findings.items()}, indent=1))
        partial.replace(file)
    except OSError as error:
        log(f"the fastest precision is measured at every start, as it cannot be kept: {error}")


def _said(finding: tuple[Precision, Finding]) -> str:
    name, found = finding
    verdict = "" if found.passes else ", not close enough"
    return f"{name} {1000 * found.step:.1f} ms a step, {found.nats:.4f} nats, {found.agreement:.1%}{verdict}"
