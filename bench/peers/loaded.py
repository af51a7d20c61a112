"""Our engine and audiocraft's own token loop as peers: models that our loader loads, each with a loop of its own."""

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.engine.sampling import guide
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.musicgen import MusicGenModel

# isort: split
import torch
from audiocraft.modules.conditioners import ClassifierFreeGuidanceDropout


class _Loaded:
    """What both have in common.

    Parameters
    ----------
    model : loaded in one precision, with one of the loops
    text : the description of every clip
    """

    takes_prefix = True

    def __init__(self, model: MusicGenModel, text: str) -> None:
        self._model = model
        self._condition = Condition(text)

    def generate(self, prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        """See `Peer.generate`."""
        generator = torch.Generator(self._model.device).manual_seed(0)
        length = frames + (0 if prefix is None else prefix.shape[-1])
        request = SlotRequest(self._condition, prefix, length, Sampling(), generator)
        [tokens] = self._model.generate_tokens([request], on_step)
        return tokens


class Ours(_Loaded):
    """A `Peer`: the engine."""

    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Peer.score`; on a CPU by steps, whose products can differ from those of a prefill."""
        engine = self._model.generator
        assert isinstance(engine, Engine)
        score = engine.score if self._model.device.type == "cuda" else engine.step_scores
        return score(self._condition, tokens, Sampling().guidance).cpu()


class Audiocraft(_Loaded):
    """A `Peer`: audiocraft's `LMModel.generate`, which a model loaded with `MUSICGEN_ENGINE=reference` calls."""

    @torch.no_grad()
    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Peer.score`."""
        assert isinstance(self._model.generator, ReferenceLoop)
        lm, device = self._model.generator.lm, self._model.device
        given = [adapter.attributes(self._condition)]
        both = given + ClassifierFreeGuidanceDropout(p=1.0)(given)
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            conditions = lm.condition_provider(lm.condition_provider.tokenize(both))
            rows = tokens.to(device).expand(2, -1, -1)
            predicted = lm.compute_predictions(rows, [], conditions, keep_only_valid_steps=False)
        conditional, unconditional = predicted.logits.float().cpu()
        return guide(conditional, unconditional, Sampling().guidance)
