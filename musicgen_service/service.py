"""The service: models in memory, requests in, files out. Nothing musical is decided here."""

import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_service import health, naming, paths, threads
from musicgen_service.client_errors import is_out_of_memory
from musicgen_service.finished_clip import FinishedClip
from musicgen_service.models import text_reading
from musicgen_service.models.analysis_models import AnalysisModels
from musicgen_service.models.cache import ModelCache, memory_budget, trim_heap
from musicgen_service.models.catalogue import best, fetch_hint
from musicgen_service.models.music_model import MusicModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.notes import note
from musicgen_service.outputs import Outputs
from musicgen_service.paths import stream
from musicgen_service.paths.job import Clip, Job
from musicgen_service.progress import Progress, log
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.tasks import TaskSpec

_SMALL_WIDTH = 512
"""Transformers this wide or less run on one thread: the demo is, every released one is wider."""


class MusicGenService:
    """Makes clips. One request at a time: the networks keep state while they run.

    Parameters
    ----------
    store : where checkpoints come from; by default the weights folder of the environment
    device : where models run; by default a GPU where there is one
    """

    def __init__(self, store: WeightStore | None = None, device: torch.device | None = None) -> None:
        self.store = store or WeightStore.from_environment()
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._models = ModelCache(self.store, self.device, memory_budget(self.device))
        self._outputs = Outputs()
        self._working = threading.Lock()
        self._threads = threads.limit()
        self._analysis = AnalysisModels(self.store, self.device)

    def setup(self, models: Sequence[str] = ()) -> None:
        """Load checkpoints by name; without a name, the best one for text.

        Raises
        ------
        WeightsError
            When there is nothing to load.
        """
        chosen = models or [name for name in [best(self.store.present(), melody=False)] if name]
        if not chosen:
            raise WeightsError(f"There is no checkpoint in {self.store.root}: {fetch_hint('small')}.")
        for name in chosen:
            self._models.get(name)
            log(f"model '{name}' is ready on {self.device.type}")

    def generate(self, inputs: Mapping[str, Any]) -> tuple[list[Path], list[int]]:
        """Carry out one request and write what it makes to files.

        Parameters
        ----------
        inputs : the client's inputs by name, files decoded; see `requests.fields` and `inputs.decoding`

        Returns
        -------
        The files made, in order, and the seed of each; `Outputs` says how long the files stay.

        Raises
        ------
        RequestError
            When the inputs are not allowed, with every reason.
        """
        request = self._request(inputs)
        files, seeds = [], []
        with self._clips(request) as clips, self._outputs.folder() as folder:
            for clip in clips:
                files.append(folder / naming.file_name(request, naming.label(clip.number, clip.part)))
                clip.save(files[-1])
                seeds.append(clip.seed)
        return files, seeds

    def clips(self, inputs: Mapping[str, Any]) -> list[FinishedClip]:
        """Carry out one request, in memory; parameters and errors are those of `generate`."""
        with self._clips(self._request(inputs)) as clips:
            return list(clips)

    def stream(self, inputs: Mapping[str, Any]) -> Iterator[np.ndarray]:
        """Carry out one request for text; the sound comes while more of it is being made.

        Parameters
        ----------
        inputs : as for `generate`

        Returns
        -------
        See `paths.stream.generate`. Nothing else can be made before the last array is out or the iterator is closed.

        Raises
        ------
        RequestError
            When the inputs are not allowed, or not for a stream.
        """
        request = self._request(inputs)
        stream.check(request)
        return self._stream(request)

    def _stream(self, request: GenerationRequest) -> Iterator[np.ndarray]:
        with self._in_turn():
            yield from stream.generate(self._job(request, lambda share: None))

    def _request(self, inputs: Mapping[str, Any]) -> GenerationRequest:
        request = GenerationRequest.from_inputs(inputs, self.store.present())
        self._require_components(request.spec)
        log(f"task {request.task}, model {request.model_version}, seed {request.seed}")
        return request

    @contextmanager
    def _clips(self, request: GenerationRequest) -> Iterator[Iterator[FinishedClip]]:
        """The clips of a request, each made as it is asked for, within the block."""
        progress = Progress()
        try:
            with self._in_turn(), closing(self._make_clips(request, progress)) as clips:
                yield clips
        finally:
            progress.close()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """The time of one request: nothing else is made within the block, and its memory is free after it."""
        try:
            with self._working:
                yield
        except BaseException as error:
            # Its traceback holds on to all that was being worked on.
            traceback.clear_frames(error.__traceback__)
            if is_out_of_memory(error):
                self._analysis.clear()
                self._models.clear()
            raise
        finally:
            trim_heap()

    def is_healthy(self) -> bool:
        """Whether a few tokens can be made and decoded; while a request does just that, there is nothing to try."""
        if not self._working.acquire(blocking=False):
            return True
        try:
            return health.probe(self._models.newest(), self.device)
        finally:
            self._working.release()

    def _require_components(self, task: TaskSpec) -> None:
        for name in task.components:
            if not self.store.has(name):
                use = f"Task '{task.name}' {task.component_use} with '{name}'"
                raise RequestError([f"{use}, which is not in the weights folder: {fetch_hint(name)}."])

    def _make_clips(self, request: GenerationRequest, progress: Progress) -> Generator[FinishedClip]:
        job = self._job(request, progress.report)
        for clip in paths.generate(job):
            made_with = _recipe(request, clip)
            yield FinishedClip(clip.samples, job.model.sample_rate, clip.seed, made_with, clip.number, clip.part)

    def _job(self, request: GenerationRequest, report: Callable[[float], None]) -> Job:
        model = self._models.get(request.model_version)
        # In a small network threads wait for each other after every operation, longer than they work;
        # on a busy machine more than a hundred times longer.
        torch.set_num_threads(1 if model.width <= _SMALL_WIDTH else self._threads)
        _note_unread_words(request, model)
        audio = None
        if request.input_audio is not None:
            audio = request.input_audio.slice(request.continuation_start, request.continuation_end)
            if not audio.samples.shape[1]:
                raise RequestError(
                    [
                        f"The part of input_audio from {request.continuation_start:.7g} s to "
                        f"{request.continuation_end:.7g} s is shorter than a sample: raise continuation_end."
                    ]
                )
            if audio.is_silent and request.spec.needs_melody:
                raise RequestError([f"input_audio is silent where task '{request.task}' needs it to be heard."])
        decode = self._decoder_of(model, diffusion=request.multi_band_diffusion)
        return Job(request, model, audio, decode, self._analysis, report)

    def _decoder_of(self, model: MusicModel, *, diffusion: bool) -> Callable[[torch.Tensor, int], torch.Tensor]:
        return self._models.diffusion(model.name).decode if diffusion else lambda tokens, _seed: model.decode(tokens)


def _note_unread_words(request: GenerationRequest, model: MusicModel) -> None:
    """Note what the model does not understand of a prompt, or does not read."""
    if request.prompt is None or not request.spec.samples_tokens:
        return
    description = model.read_text(request.description or "")
    for sentence in text_reading.notes(model.name, model.read_text(request.prompt), description):
        note(sentence)


def _recipe(request: GenerationRequest, clip: Clip) -> dict[str, Any]:
    """What makes one clip again: the request with this clip's seed, alone, unless it goes on from the first one."""
    if request.spec.follows_first_variation:
        inputs = replace(request, variations=clip.number).as_inputs()
    else:
        inputs = replace(request, seed=clip.seed, variations=1).as_inputs()
    if request.input_audio is not None:
        inputs["input_audio"] = request.input_audio.name
        inputs["input_audio_sha256"] = request.input_audio.sha256
    return inputs
