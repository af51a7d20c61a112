"""A training from songs to an adapter in the weights folder; a killed one goes on where it was."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from musicgen_service import threads
from musicgen_service.models import beat_tracking, chord_recognition, separators
from musicgen_service.models.adapters import CARD_FILE, AdapterStore
from musicgen_service.models.analysis_models import AnalysisModels
from musicgen_service.models.cache import ModelCache
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.memory import default_budget
from musicgen_service.models.store import WeightStore
from musicgen_service.training import base, captions, layout, made, network, reports, sources, unfinished
from musicgen_service.training.base import Conditions
from musicgen_service.training.batches import Batches
from musicgen_service.training.board import Board
from musicgen_service.training.encoding import Clip, Encoder
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.listening import Listener, Song
from musicgen_service.training.options import Options
from musicgen_service.training.processes import ALONE, Processes
from musicgen_service.training.samples import Sampler
from musicgen_service.training.trainer import Trainer

_MAX_HELD_OUT = 0.15
"""Share of the songs that are held out; at least one, if there are two."""
_SAMPLES = 4
"""How often samples are made."""
_PROMPTS = 2

Report = Callable[[str, int, int, str], None]
"""Called with what is done, how much of it, of how much, and more to say."""


@dataclass(frozen=True)
class Songs:
    """The songs of a training.

    Attributes
    ----------
    songs : all of them, those that are left out too
    others : names of the files that are no songs
    """

    songs: list[Song]
    others: list[str]

    @property
    def used(self) -> list[Song]:
        """Those that are trained on, or held out."""
        return [song for song in self.songs if not song.problem]

    @property
    def seconds(self) -> float:
        """Of audio to train on."""
        return sum(piece.seconds for song in self.used for piece in song.pieces)


@contextmanager
def understood(
    paths: Sequence[Path], options: Options, store: WeightStore, report: Report, processes: Processes = ALONE
) -> Iterator[Songs]:
    """Find the songs and listen to them; what was taken out of archives is there for the block.

    Of several processes the main one listens.

    Raises
    ------
    TrainingError
        When there is no song, or too much, or nothing here takes vocals out of songs, where that is asked for.
    """
    if not processes.is_main:
        yield processes.from_main(None)
        return
    if options.drop_vocals and separators.choose(store) is None:
        raise TrainingError(f"Vocals are taken out with {separators.missing()}.")
    with tempfile.TemporaryDirectory(prefix="musicgen-songs-") as work:
        source = sources.find(paths, Path(work))
        total = len(source.songs)
        listener = Listener(
            beat_tracking.choose(store),
            chord_recognition.choose(),
            CHECKPOINTS[options.base].window,
            options.caption,
            options.trigger,
            as_written=options.as_written,
        )
        songs = listener.hear_all(source.songs, lambda done: report("listening", done, total, ""))
        yield processes.from_main(Songs(songs, source.others))


def train(
    songs: Songs,
    options: Options,
    store: WeightStore,
    device: torch.device,
    report: Report,
    processes: Processes = ALONE,
    *,
    restart: bool = False,
    replace: bool = False,
) -> Path:
    """Train an adapter, and put it into the weights folder; goes on with one that was interrupted.

    Parameters
    ----------
    songs : as `understood` gives them
    report : called by the main process
    processes : those that train together
    restart : whether it begins anew where one was interrupted
    replace : whether it replaces an adapter of that name

    Returns
    -------
    The folder of the adapter

    Raises
    ------
    TrainingError
        When no song can be used, another process trains an adapter of that name, an unfinished training has other
        songs or options, or nothing was learned.
    WeightsError
        When the base is missing or damaged, or there is an adapter of that name.
    """
    if not songs.used:
        raise TrainingError("None of the songs can be used: the table says why.")
    work = layout.work_folder(store, options.name)
    with ExitStack() as stack:
        if processes.is_main:
            stack.enter_context(unfinished.held(work))
            used = [[song.sha256, song.caption] for song in songs.used]
            unfinished.begin(work, {"options": options.as_json(), "songs": used}, restart=restart)
        folder = _Training(songs, options, store, device, work, report, processes).run(replace=replace)
        if processes.is_main:
            unfinished.remove(work)
    return folder


class _Training:
    """One training, in its folder."""

    def __init__(
        self,
        songs: Songs,
        options: Options,
        store: WeightStore,
        device: torch.device,
        work: Path,
        report: Report,
        processes: Processes,
    ) -> None:
        self._songs = songs
        self._options = options
        self._store = store
        self._work = work
        self._processes = processes
        self._report = report if processes.is_main else lambda *_: None
        self._base = base.load(store, options.base, device)
        threads.use(threads.for_width(self._base.model.width))

    def run(self, *, replace: bool) -> Path:
        """Encode, train, and deliver the adapter."""
        options = self._options
        with self._processes.main_first():
            training, held_out = self._split(self._clips())
            made_clips = self._made(training)
        conditions = Conditions(self._base, self._work / "cache")
        model = self._model()
        rate, device = self._base.model.frame_rate, self._base.model.device
        batches = Batches(training, made_clips, conditions, options, rate, device)
        rows = batches.held_out(held_out)
        checkpoint = self._work / "checkpoint.pt"
        trainer = Trainer(model, self._base.pattern, options, batches, rows, rate, checkpoint, self._processes)
        sampler = Sampler(self._base, model, options, self._prompts(training), self._work)
        interval = max(options.every, options.steps // _SAMPLES // options.every * options.every)

        board = Board(self._work)

        def on_evaluation() -> None:
            if not self._processes.is_main:
                return
            reports.write_losses(trainer.history, self._work)
            board.write(trainer.history)
            if trainer.step % interval == 0 or trainer.has_ended:
                sampler.make(network.weights_of(model), trainer.step)

        def on_step(step: int, loss: float) -> None:
            held_out_loss = trainer.history.held_out[-1][1]
            self._report("training", step, options.steps, f"loss {loss:.3f}, held-out {held_out_loss:.3f}")

        trainer.run(on_step, on_evaluation)
        board.close()
        if not self._processes.is_main:
            return AdapterStore.of(self._store).root / options.name
        names = list(dict.fromkeys(self._songs.used[clip.song].name for clip in held_out))
        if trainer.history.best[0] == 0:
            raise TrainingError(
                f"'{options.name}' has learned nothing: the loss on held-out songs never fell. "
                "Give more songs, a lower learning rate or other options."
            )
        return self._deliver(model, trainer, names, replace=replace)

    def _clips(self) -> list[Clip]:
        options, songs = self._options, self._songs.used
        cache = self._work / "cache"
        cache.mkdir(exist_ok=True)
        model, device = self._base.model, self._base.model.device
        analysis = AnalysisModels(self._store, device, ModelCache(self._store, device, default_budget(device)))
        needs_stems = model.melody_span is not None and model.separates_melody
        encoder = Encoder(
            self._base,
            options,
            cache,
            (lambda audio: analysis.split(audio, lambda _share: None)[1]) if options.drop_vocals else None,
            analysis.melody if needs_stems else None,
        )
        return encoder.encode_all(songs, lambda done: self._report("encoding", done, len(songs), ""))

    def _split(self, clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
        """Clips to train on, and unchanged ones of songs that are held out; of a single song, its last piece."""
        numbers = list(dict.fromkeys(clip.song for clip in clips))
        if len(numbers) > 1:
            count = max(1, int(_MAX_HELD_OUT * len(numbers)))
            chosen = np.random.default_rng(self._options.seed).choice(numbers, count, replace=False).tolist()
            held_out = [clip for clip in clips if clip.song in chosen]
        else:
            # All variants of the last piece; a single piece is trained on, too.
            held_out = list(clips[-(len(clips) // sum(len(song.pieces) for song in self._songs.used)) :])
        training = [clip for clip in clips if not any(clip is other for other in held_out)]
        return training or list(clips), [clip for clip in held_out if clip.is_original]

    def _made(self, training: Sequence[Clip]) -> list[Clip]:
        options = self._options
        if options.trigger is None or not options.kept:
            return []
        texts = [clip.caption for clip in training]
        cache = self._work / "cache"

        def on_step(done: int, total: int) -> None:
            self._report("listening to the base", done, total, "")

        return made.make(self._base, texts, options.crop, options.seed, cache, on_step)

    def _model(self) -> network.PeftModel:
        options = self._options
        torch.manual_seed(options.seed)
        model = network.with_adapter(self._base.network(), options.rank, options.alpha, options.targets)
        if options.checkpointing:
            network.save_memory(model)
        return model

    def _prompts(self, training: Sequence[Clip]) -> list[str]:
        texts = list(dict.fromkeys(clip.caption for clip in training))[:_PROMPTS]
        return [captions.with_trigger(self._options.trigger, text) for text in texts]

    def _deliver(self, model: network.PeftModel, trainer: Trainer, held_out: Sequence[str], *, replace: bool) -> Path:
        options, adapters = self._options, AdapterStore.of(self._store)
        with adapters.adding(options.name, source="trained here", replace=replace) as folder:
            network.save(model, trainer.best, folder)
            card = reports.card(options, self._songs.songs, held_out, trainer.history)
            (folder / CARD_FILE).write_text(card, encoding="utf-8")
            for name in (layout.TABLE, layout.PICTURE):
                shutil.copy(self._work / name, folder)
            for name in (layout.SAMPLES, layout.BOARD):
                if (self._work / name).is_dir():
                    shutil.copytree(self._work / name, folder / name)
        return adapters.root / options.name
