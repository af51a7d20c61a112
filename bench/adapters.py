"""What an adapter learns of ten songs with a trait that the demo checkpoint never had, and what it leaves as it was.

    python -m bench.adapters
    python -m bench.adapters --clips 4 --steps 40 --style "bass figure"
    python -m bench.adapters --style "bass figure" --adapter FOLDER  # one that has been trained before

Songs of `demo/synth` with held-back seeds: ten to train on, others to measure the loss on. Losses are in nats per
token, of the engine's own predictions without guidance, each token from the ones before; the demo has a codebook for
drums, whose loss says little of their rhythm (see `bench.adapter_hits`), and three for tones from low to high. The
trait is measured in clips of 10 s, for prompts with the trigger and without, beside the song that the prompt describes.
Those songs through the codec show what a measure can reach, and the same songs without the trait what it is by chance.
"""

import argparse
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import adapter_hits, adapter_songs, machine
from bench.adapter_songs import Style
from demo.synth import Song
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models import loading
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.training import options as training_options
from musicgen_service.training import run
from musicgen_service.training.objective import cross_entropy
from musicgen_service.training.options import Options

import numpy as np
import torch

TRIGGER = "in mystyle"
_TRAINED, _MEASURED = 10, 6
_CLIP_FRAMES = 500
_REPEATS = 5
_CPU = torch.device("cpu")


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [style.name for style in adapter_songs.STYLES]
    parser.add_argument("--style", choices=names, action="append", help="default: all")
    parser.add_argument("--steps", type=int, help="of a training (default: that of `train`)")
    parser.add_argument("--clips", type=int, default=8, help="clips behind each figure (default %(default)s)")
    parser.add_argument("--adapter", type=Path, help="folder of one that is trained already, in place of training")
    arguments = parser.parse_args()
    print(f"demo; {machine.describe(_CPU)}; load average {os.getloadavg()[0]:.1f}")
    print(f"python -m bench.adapters {shlex.join(sys.argv[1:])}".rstrip(), end="\n\n", flush=True)
    for style in adapter_songs.STYLES:
        if style.name in (arguments.style or names):
            _measure(style, arguments.steps, arguments.clips, arguments.adapter)


def _measure(style: Style, steps: int | None, clips: int, trained: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        store = _store(Path(temporary))
        wall, processor = time.monotonic(), time.process_time()
        if trained is None:
            _train(style, steps, store, Path(temporary))
        else:
            shutil.copytree(trained, AdapterStore.of(store).root / "mystyle")
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        files, adapters = store.checkpoint("demo"), AdapterStore.of(store)
        base = loading.load_model(files, _CPU)
        adapter = adapters.get("mystyle")

        def with_strength(strength: float) -> MusicGenModel:
            return loading.load_adapted(base, files, adapters.apply([("mystyle", strength)], "demo"), "mystyle")

        adapted = with_strength(1.0)
        switching = []
        for _ in range(_REPEATS):
            started = time.monotonic()
            with_strength(0.9)
            switching.append(time.monotonic() - started)
        print(f"{style.name}: {_TRAINED} songs of {adapter_songs.SECONDS:g} s")
        if trained is None:
            _row("training, listening included", f"{wall / 60:.1f} min ({processor / 60:.1f} min of processors)")
        _row("adapter's size", f"{adapter.size / 1e6:.2f} MB")
        _row("switching, median", f"{statistics.median(switching):.2f} s")
        held_back = range(_TRAINED, _TRAINED + _MEASURED)
        unseen = [style.song(number) for number in held_back]
        others = [adapter_songs.other_song(number) for number in range(_MEASURED)]
        for name, songs, trigger in (
            ("loss on unseen songs with the trait, with the trigger", unseen, TRIGGER),
            ("loss on unseen songs with the trait, without the trigger", unseen, None),
            ("loss on other songs, without the trigger", others, None),
        ):
            scores = [_scores(model, songs, trigger) for model in (base, adapted)]
            before, after = (_losses(each) for each in scores)
            whole = f"{before.mean():.3f} -> {after.mean():.3f} ({100 * (after.mean() / before.mean() - 1):+.1f} %)"
            _row(name, whole)
            _row("  drums, low, mid, high", f"{_list(before)} -> {_list(after)}")
            if style.drums and songs is unseen:
                struck = adapter_hits.codes(songs, [tokens for _, tokens in scores[0]], base.config.decoder.card)
                found = [_hits(each, struck) for each in scores]
                familiar = _scores(base, [style.song_without_trait(number) for number in held_back], None)
                _row("  probability of a hit where there is one; elsewhere", " -> ".join(found))
                _row("  the same in songs without the trait: base", _hits(familiar, struck))
        prompts = [style.song(number) for number in range(100, 100 + clips)]
        made = {
            "base, with the trigger": _clips(base, prompts, TRIGGER),
            "adapter, with the trigger": _clips(adapted, prompts, TRIGGER),
            "base, without it": _clips(base, prompts, None),
            "adapter, without it": _clips(adapted, prompts, None),
            "songs themselves": [song.audio[: _CLIP_FRAMES * base.hop] for song in prompts],
        }
        made["songs through the codec"] = [_through_codec(base, audio) for audio in made["songs themselves"]]
        made["songs without the trait"] = [
            style.song_without_trait(number).audio[: _CLIP_FRAMES * base.hop] for number in range(100, 100 + clips)
        ]
        for name, measure in adapter_songs.measures(style).items():
            for who, sounds in made.items():
                heard = [measure(sound, song) for sound, song in zip(sounds, prompts, strict=True)]
                _row(f"{name}: {who}", f"{np.mean(heard):+.3f} ± {np.std(heard) / len(heard) ** 0.5:.3f}")
        print(flush=True)


def _store(folder: Path) -> WeightStore:
    """A weights folder with the demo checkpoint, to put adapters into."""
    (folder / "weights").mkdir()
    (folder / "weights" / "demo").symlink_to(WeightStore.from_environment().path("demo").resolve())
    return WeightStore(folder / "weights")


def _train(style: Style, steps: int | None, store: WeightStore, folder: Path) -> None:
    adapter_songs.write(style, range(_TRAINED), folder / "songs")
    values = training_options.defaults("demo") | {"name": "mystyle", "base": "demo", "trigger": TRIGGER}
    options = Options(**values | ({"steps": steps} if steps else {}))
    with run.understood([folder / "songs"], options, store, lambda *_: None) as songs:
        run.train(songs, options, store, _CPU, lambda *_: None)


def _prompt(song: Song, trigger: str | None) -> str:
    return f"{trigger}, {song.caption}" if trigger else song.caption


_Scores = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Of each song, logits float [codebooks, frames, card] and tokens int64 [codebooks, frames]."""


@torch.no_grad()
def _scores(model: MusicGenModel, songs: Sequence[Song], trigger: str | None) -> _Scores:
    scores = []
    for song in songs:
        tokens = model.encode(torch.from_numpy(song.audio)[None])
        logits = model.generator.score(Condition(_prompt(song, trigger)), tokens, 1.0)  # type: ignore[attr-defined]
        scores.append((logits, tokens))
    return scores


def _losses(scores: _Scores) -> np.ndarray:
    """Mean cross-entropy of each codebook."""
    songs = [
        [float(cross_entropy(logits[None, [k]], tokens[None, [k]])) for k in range(len(tokens))]
        for logits, tokens in scores
    ]
    return np.mean(songs, axis=0)


def _hits(scores: _Scores, struck: torch.Tensor) -> str:
    found = np.mean([adapter_hits.probabilities(logits, tokens, struck) for logits, tokens in scores], axis=0)
    return "; ".join(f"{probability:.3f}" for probability in found)


def _list(losses: np.ndarray) -> str:
    return ", ".join(f"{loss:.2f}" for loss in losses)


def _clips(model: MusicGenModel, songs: Sequence[Song], trigger: str | None) -> list[np.ndarray]:
    """A clip for the prompt of each song, always with the same seeds."""
    requests = [
        SlotRequest(
            Condition(_prompt(song, trigger)), None, _CLIP_FRAMES, Sampling(), torch.Generator().manual_seed(seed)
        )
        for seed, song in enumerate(songs, 1)
    ]
    return [model.decode(tokens)[0].numpy() for tokens in model.generate_tokens(requests, lambda _d, _t: None)]


def _through_codec(model: MusicGenModel, audio: np.ndarray) -> np.ndarray:
    return model.decode(model.encode(torch.from_numpy(audio)[None]))[0].numpy()


def _row(name: str, value: str) -> None:
    print(f"  {name:62}{value}", flush=True)


if __name__ == "__main__":
    main()
