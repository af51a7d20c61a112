"""How likely a model thinks hits of drums."""

import numpy as np
import pytest
import torch

from bench import adapter_hits, adapter_songs
from demo.synth import FRAME

CARD = 8


def test_codes_of_hits_are_those_in_whose_frames_drums_rise() -> None:
    song = adapter_songs.STYLES[0].song(200)
    frames = song.stems["drums"][: len(song.audio) // FRAME * FRAME].reshape(-1, FRAME)
    rises = np.diff(np.sqrt((frames**2).mean(1)), prepend=0)
    tokens = torch.zeros(4, len(frames), dtype=torch.int64)
    tokens[0] = torch.from_numpy(np.select([rises > 0.05, rises < 0], [3, 5], 0))
    assert adapter_hits.codes([song], [tokens], CARD).nonzero().flatten().tolist() == [3]


def test_probabilities_at_hits_and_away_from_them() -> None:
    codes = torch.tensor([False, True, True, False])
    tokens = torch.tensor([[0, 0, 0, 0, 0, 1, 0, 0, 3, 0]])
    shares = torch.full((1, 10, 4), 0.25)
    shares[0, 5] = torch.tensor([0.2, 0.1, 0.6, 0.1])  # a hit, of whatever kind
    shares[0, 0] = torch.tensor([0.9, 0.1, 0.0, 0.0])
    at, away = adapter_hits.probabilities(shares.log(), tokens, codes)
    assert at == pytest.approx(0.7)
    # Frames 3 to 7 are near the hit.
    assert away == pytest.approx((0.1 + 4 * 0.5) / 5)
