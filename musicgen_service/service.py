"""The service: models in memory, requests in, files out. Nothing musical is decided here."""

import math
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_service import audio_parts, health, naming, paths, text_checks, threads
from musicgen_service.audio.reading import AudioInput
from musicgen_service.audio.recipe import ADAPTERS, MUSIC, SECTION_TIMES, SEPARATOR, digest_name
from musicgen_service.client_errors import is_out_of_memory
from musicgen_service.engine.interface import Load
from musicgen_service.finished_clip import FinishedClip
from musicgen_service.listener import Listener
from musicgen_service.models import separators
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.analysis_models import AnalysisModels
from musicgen_service.models.cache import ModelCache
from musicgen_service.models.catalogue import best, fetch_hint
from musicgen_service.models.memory import MemoryBudget, default_budget, trim_heap
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.outputs import Outputs
from musicgen_service.paths.job import Clip, Job
from musicgen_service.progress import Progress, log
from musicgen_service.requests import sections
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.tally import Tally

STALLED_AFTER = 120.0
"""Seconds after which a step that has not ended counts as stuck; the first of its shape on a GPU takes long."""

Decode = Callable[[torch.Tensor, int], torch.Tensor]
"""Tokens and a seed to audio; see `Job.decode`."""


class MusicGenService:
    """Generates clips for any number of threads at once, whose requests share the steps of a model.

    Parameters
    ----------
    store : source of checkpoints; by default the weights folder of the environment
    device : device of the models; by default a GPU if there is one

    Attributes
    ----------
    max_audio_seconds : how much audio one request may ask for, all variations and repetitions together
    """

    def __init__(self, store: WeightStore | None = None, device: torch.device | None = None) -> None:
        self.store = store or WeightStore.from_environment()
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        threads.limit()  # read before any thread sets its own number
        self._models = ModelCache(self.store, self.device, default_budget(self.device))
        self._analysis = AnalysisModels(self.store, self.device, self._models)
        self.adapters = AdapterStore.of(self.store)
        self._outputs = Outputs()
        self._working: list[threading.Thread] = []
        self.audio_seconds = Tally[tuple[str, str]]()
        """Length of all clips so far, by task and model."""
        self.max_audio_seconds = math.inf

    def setup(self, models: Sequence[str] = ()) -> None:
        """Load checkpoints by name; without a name, the best one for text.

        Raises
        ------
        WeightsError
            When no checkpoint is available.
        """
        chosen = models or [name for name in [best(self.store.present(), melody=False)] if name]
        if not chosen:
            raise WeightsError(f"There is no checkpoint in {self.store.root}: {fetch_hint('small')}.")
        for name in chosen:
            with self._models.lease(name):
                pass
            log(f"model '{name}' is ready on {self.device.type}")

    def generate(
        self,
        inputs: Mapping[str, Any],
        listener: Listener | None = None,
        on_request: Callable[[GenerationRequest], None] = lambda _: None,
    ) -> tuple[list[Path], list[int]]:
        """Carry out one request and write its clips to files.

        Parameters
        ----------
        inputs : the client's inputs by name, files decoded; see `requests.fields` and `inputs.decoding`
        listener : hears the first clip while it is made
        on_request : called with the complete request before it is carried out

        Returns
        -------
        The files, in order, and the seed of each audio file; `Outputs` defines how long the files are kept.

        Raises
        ------
        RequestError
            When the inputs are invalid; lists every problem.
        """
        request = self._request(inputs)
        on_request(request)
        if listener is not None and request.not_streamed is not None:
            listener.refuse(request.not_streamed)
            listener = None
        files, seeds = [], []
        with self._clips(request, listener) as clips, self._outputs.folder() as folder:
            for clip in clips:
                file = folder / naming.file_name(request, clip.music, naming.label(request, clip.number, clip.part))
                clip.save(file)
                files.append(file)
                seeds.append(clip.seed)
                if clip.midi is not None:
                    files.append(file.with_name(naming.midi_name(file.name)))
                    files[-1].write_bytes(clip.midi)
        return files, seeds

    def remove_files(self) -> None:
        """Remove the files of all requests that have ended; none may be running."""
        self._outputs.remove_all()

    def clips(self, inputs: Mapping[str, Any]) -> list[FinishedClip]:
        """Carry out one request, in memory; parameters and errors are those of `generate`."""
        with self._clips(self._request(inputs)) as clips:
            return list(clips)

    def stream(self, inputs: Mapping[str, Any]) -> Iterator[np.ndarray]:
        """Carry out one request of one clip; yields its audio while the rest is being generated.

        Parameters
        ----------
        inputs : as for `generate`

        Returns
        -------
        See `paths.stream`. The request ends when the iterator is exhausted or closed.

        Raises
        ------
        RequestError
            When the inputs are invalid, or cannot be streamed.
        """
        request = self._request(inputs)
        problems = [request.not_streamed] if request.not_streamed else []
        if request.variations > 1:
            problems.append(f"A stream is one clip, and variations is {request.variations}: leave it out.")
        if problems:
            raise RequestError(problems)
        return self._stream(request)

    def _stream(self, request: GenerationRequest) -> Iterator[np.ndarray]:
        with self._work(), self._job(request, lambda share: None) as job:
            yield from paths.stream(job)

    def _request(self, inputs: Mapping[str, Any]) -> GenerationRequest:
        request = GenerationRequest.from_inputs(inputs, self.store.present(), self.adapters.bases())
        if request.audio_seconds > self.max_audio_seconds:
            raise RequestError(
                [
                    f"The request asks for {request.audio_seconds:,.4g} s of audio, "
                    f"all variations and repetitions together; {self.max_audio_seconds:,.10g} s are allowed."
                ]
            )
        self._require_separator(request)
        log(f"task {request.task}, model {request.model_version}, seed {request.seed}")
        if request.parts:
            log(f"sections: {sections.listed(request.section_times)}")
        return request

    @contextmanager
    def _clips(self, request: GenerationRequest, listener: Listener | None = None) -> Iterator[Iterator[FinishedClip]]:
        """Yield an iterator that generates the clips of a request lazily, within the block."""
        progress = Progress()
        try:
            with self._work(), closing(self._make_clips(request, progress, listener)) as clips:
                yield clips
        finally:
            progress.close()

    @contextmanager
    def _work(self) -> Iterator[None]:
        """Count this thread as working for the duration of the block; release memory afterwards."""
        worker = threading.current_thread()
        self._working.append(worker)
        try:
            yield
        except BaseException as error:
            # The traceback keeps the request's tensors alive.
            traceback.clear_frames(error.__traceback__)
            if is_out_of_memory(error):
                self._models.clear()
            raise
        finally:
            self._working.remove(worker)
            trim_heap()

    def is_healthy(self) -> bool:
        """Whether a few tokens can be generated and decoded; while requests are carried out, whether steps go on."""
        models = self._models.checkpoints()
        if any(worker.is_alive() for worker in self._working):
            return all(model.generator.unresponsive_seconds < STALLED_AFTER for model in models)
        return health.probe(models[-1] if models else None, self.device)

    @property
    def memory(self) -> MemoryBudget:
        """What loaded models, their slots and the recordings of requests take."""
        return self._models.memory

    @property
    def loaded(self) -> list[str]:
        """Labels of everything in memory, least recently used first."""
        return self._models.names()

    @property
    def loads(self) -> dict[str, Load]:
        """How busy each loaded checkpoint is."""
        loads = {model.label: model.generator.load for model in self._models.checkpoints()}
        return {name: load for name, load in loads.items() if load is not None}

    def _require_separator(self, request: GenerationRequest) -> None:
        if not request.needs_separator or self._analysis.separator is not None:
            return
        if request.spec.needs_separator:
            raise RequestError([f"Task '{request.task}' takes the vocals out of the song with {separators.missing()}."])
        raise RequestError([f"return_stems takes a clip apart with {separators.missing()}."])

    def _make_clips(
        self, request: GenerationRequest, progress: Progress, listener: Listener | None
    ) -> Generator[FinishedClip]:
        with self._job(request, progress.report, listener) as job:
            for clip in paths.generate(job):
                recipe = _recipe(request, clip)
                if job.model.adapters:
                    recipe[ADAPTERS] = dict(job.model.adapters)
                if request.needs_separator:
                    recipe[SEPARATOR] = self._analysis.separator
                samples, rate = clip.samples, clip.rate or job.model.sample_rate
                if not clip.part:
                    self.audio_seconds.add((request.task, job.model.name), samples.shape[1] / rate)
                yield FinishedClip(samples, rate, clip.seed, recipe, clip.number, clip.part, clip.midi)

    @contextmanager
    def _job(
        self, request: GenerationRequest, report: Callable[[float], None], listener: Listener | None = None
    ) -> Iterator[Job]:
        """Yield the job of a request, whose models stay in memory for the block."""
        with self._model_and_decoder(request) as (model, decode):
            if request.spec.repaints and not model.generator.scores_tokens:
                raise RequestError([f"audiocraft's own loop, which is in use, cannot {request.task}."])
            if not model.generator.takes_negative_text:
                text_checks.refuse_negative_texts(request)
            threads.use(threads.for_width(model.width))
            text_checks.note_unread_words(request, model)
            audio, chords_audio = audio_parts.of_input(request), audio_parts.of_chords(request)
            with self._models.hold_inputs(audio_parts.size(request)):
                yield Job(request, model, audio, decode, self._analysis, report, listener, chords_audio)

    @contextmanager
    def _model_and_decoder(self, request: GenerationRequest) -> Iterator[tuple[MusicGenModel, Decode]]:
        applied = self.adapters.apply(request.adapters, request.model_version)
        if request.multi_band_diffusion:
            with self._models.lease_with_diffusion(request.model_version, applied) as (model, diffusion):
                yield model, diffusion.decode
        else:
            with self._models.lease(request.model_version, applied) as model:
                yield model, lambda tokens, _seed: model.decode(tokens)


def _recipe(request: GenerationRequest, clip: Clip) -> dict[str, Any]:
    """The inputs that reproduce one clip: its request with its seed alone, unless it continues from the first clip."""
    if request.spec.follows_first_variation:
        inputs = replace(request, variations=clip.number).as_inputs()
    else:
        inputs = replace(request, seed=clip.seed, variations=1).as_inputs()
    if request.parts:
        del inputs["duration"]  # it follows from them
        inputs[SECTION_TIMES] = request.section_times
    if facts := clip.music.facts:
        inputs[MUSIC] = facts
    recipe: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, AudioInput):
            recipe |= {name: value.name, digest_name(name): value.sha256}
        elif value is not None:
            recipe[name] = value
    return recipe
