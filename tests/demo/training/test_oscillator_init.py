"""The decoder's oscillators keep their pitch."""

import numpy as np
import torch

from demo.training.codec import create
from demo.training.oscillator_init import OSCILLATORS, TONES, calibrated_angles
from demo.training.quantiser import Quantiser
from demo.training.songs import codec_clips


def test_oscillators_keep_their_pitch(teacher: Quantiser) -> None:
    codec = create(teacher, *codec_clips(0, 2, 1.0)).eval()
    lstm = next(module for module in codec.decoder.modules() if isinstance(module, torch.nn.LSTM))
    alone = torch.nn.LSTM(lstm.input_size, lstm.hidden_size, 1)
    first_layer = {name: value for name, value in lstm.state_dict().items() if name.endswith("l0")}
    alone.load_state_dict(first_layer)
    with torch.no_grad():
        states = alone(torch.zeros(400, 1, lstm.input_size))[0][:, 0, : 2 * OSCILLATORS].double().numpy()
    phase = np.unwrap(np.angle(states[:, 0::2] + 1j * states[:, 1::2]), axis=0)
    frequency = 440 * 2 ** ((np.array(TONES) - 69) / 12)
    advance = 2 * np.pi * frequency / 50
    drift = np.angle(np.exp(1j * (phase[-1] - phase[100] - 299 * advance)))
    assert np.abs(drift).max() < 0.5  # of a turn of 6.28, in 6 seconds
    assert len(calibrated_angles(1.045)) == OSCILLATORS
