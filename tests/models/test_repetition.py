"""What repeats in a song counts as its band, and what does not is left to the voice."""

import pytest
import torch

from musicgen_service.models import repetition

FRAMES, BINS = 240, 64


def texture(seed: int, frames: int = FRAMES) -> torch.Tensor:
    """Magnitudes of a sound, ``[1, bins, frames]``."""
    return torch.rand(1, BINS, frames, generator=torch.Generator().manual_seed(seed)) ** 4


@pytest.fixture(scope="module")
def loop() -> torch.Tensor:
    return texture(1, 30).repeat(1, 1, FRAMES // 30)


def test_a_note_of_a_loop_that_was_taken_for_the_voice_is_given_back(loop: torch.Tensor) -> None:
    estimated = torch.zeros_like(loop)
    estimated[:, 10:14, 100:110] = 0.5
    corrected = repetition.share(loop, estimated)
    assert corrected.max() < 0.35 < estimated.max()
    assert not corrected[estimated == 0].any()


def test_a_voice_over_a_loop_that_was_taken_for_the_band_is_raised(loop: torch.Tensor) -> None:
    voice = torch.zeros_like(loop)
    voice[:, 30:34, 100:110] = 3.0
    estimated = 0.5 * (voice > 0)
    corrected = repetition.share(loop + voice, estimated)
    ideal = voice / (loop + voice)
    assert (corrected - ideal)[voice > 0].abs().mean() < 0.5 * (estimated - ideal)[voice > 0].abs().mean()


def test_music_without_repetition_keeps_its_shares() -> None:
    estimated = torch.rand(1, BINS, FRAMES, generator=torch.Generator().manual_seed(3))
    assert (repetition.share(texture(2), estimated) - estimated).abs().mean() < 0.03


def test_shares_of_silence_are_none_and_all_others_between_nothing_and_everything(loop: torch.Tensor) -> None:
    assert not repetition.share(torch.zeros(2, BINS, FRAMES), torch.ones(2, BINS, FRAMES)).any()
    shares = repetition.share(loop, torch.rand(1, BINS, FRAMES, generator=torch.Generator().manual_seed(4)))
    assert shares.min() >= 0 and shares.max() <= 1


def test_the_lower_median_is_torchs() -> None:
    values = torch.rand(4, 1000, generator=torch.Generator().manual_seed(5))
    assert torch.equal(repetition._lower_median(*values), values.median(dim=0).values)
