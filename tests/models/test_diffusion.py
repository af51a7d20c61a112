"""MultiBand Diffusion: its noise depends on the seed of the clip alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.diffusion import Diffusion
from musicgen_service.models.loading import load_model
from musicgen_service.models.store import WeightStore

TOKENS = torch.randint(0, 128, (4, 20), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def diffusion(store: WeightStore) -> Diffusion:
    model = load_model(store.checkpoint("small"), torch.device("cpu"))
    return Diffusion(model, store.component(DIFFUSION))


def test_seed_determines_the_audio(diffusion: Diffusion) -> None:
    sounds = [diffusion.decode(TOKENS, seed) for seed in (5, 6, 5)]
    assert torch.equal(sounds[0], sounds[2]) and not torch.equal(sounds[0], sounds[1])


@pytest.mark.slow
def test_concurrent_threads_do_not_share_noise(diffusion: Diffusion) -> None:
    seeds = [5, 6, 5, 7, 6, 5]
    alone = {seed: diffusion.decode(TOKENS, seed) for seed in set(seeds)}
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: diffusion.decode(TOKENS, seed), seeds))
    assert all(torch.equal(sound, alone[seed]) for seed, sound in zip(seeds, together, strict=True))


def test_global_generator_state_is_restored(diffusion: Diffusion) -> None:
    before = torch.get_rng_state()
    diffusion.decode(TOKENS, 5)
    assert torch.equal(torch.get_rng_state(), before)
