"""Initialises the decoder's LSTM as a bank of oscillators, so that it can sustain a pitch.

Convolutions cannot distinguish one frame of a held note from the next: from phase-free codes they produce audio that
repeats every 20 ms, a 50 Hz buzz in place of the note. An LSTM has state. So its first layer is initialised as (and
remains) a bank of oscillators, a pair of cells for each semitone, which rotate by that tone's phase advance per frame;
the second layer's output gates set the loudness of each one. Both are set here from the codec's own quantiser; the rest
of the decoder is trained.

Layout of the first layer's cells: pairs of oscillators, then the started cell, then a copy of the latent.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo.synth import FRAME, SAMPLE_RATE
from demo.training.features import BANDS, HIGH_TONES, KNEE, LOW_TONES
from demo.training.quantiser import LATENT_DIMENSION, Quantiser

TONES = range(LOW_TONES[0], HIGH_TONES[-1] + 1)
OSCILLATORS = len(TONES)
STARTED_CELL = 2 * OSCILLATORS  # 0 before the first frame, saturated afterwards
LATENT_CELLS = STARTED_CELL + 1  # the first of the cells that pass the latent on to the second layer
AMPLITUDE = 0.3  # of the oscillators: small enough for tanh to be nearly linear, so that they stay sinusoids
GATE_OPEN, GATE_CLOSED = 8.0, -8.0  # biases at which a sigmoid is 1 or 0 to three digits
OTHER_SCALE = 0.2  # of all weights not set here: they start as small perturbations
LATENT_SCALE = 0.4  # of the copied latent in standard deviations: within tanh's nearly linear range
GATE_GAIN = 8.0  # opens a gate to 0.9 for a tone of amplitude 1, and in proportion for soft ones


def _simulate(angle: NDArray[np.float64], gain: float, steps: int) -> NDArray[np.complex128]:
    """States of oscillators rotating by `angle` a step, ``[steps, tones]``, through the LSTM's two tanh."""
    state = np.full(len(angle), AMPLITUDE, np.complex128)
    states = []
    for _ in range(steps):
        states.append(state)
        rotated = gain * np.exp(1j * angle) * state
        state = np.tanh(np.tanh(rotated.real)) + 1j * np.tanh(np.tanh(rotated.imag))
    return np.array(states)


def calibrated_angles(gain: float) -> NDArray[np.float64]:
    """Rotation in radians per frame with which the oscillators keep each tone's frequency in spite of tanh."""
    frequency = 440 * 2 ** ((np.array(TONES) - 69) / 12)
    target = 2 * np.pi * frequency * FRAME / SAMPLE_RATE
    angle = target.copy()
    for _ in range(6):  # fixed-point iterations; six leave 6e-5 rad per frame, 0.06 rad over the longest clip
        states = _simulate(angle, gain, 1000)
        error = np.angle((states[1:] / states[:-1]) * np.exp(-1j * target)).mean(0)
        angle -= error
    return angle


def _gates(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split an LSTM parameter's rows: input gate, forget gate, candidate, output gate."""
    first, second, third, fourth = matrix.chunk(4)
    return first, second, third, fourth


@torch.no_grad()
def initialise_oscillators(lstm: Any, quantiser: Quantiser) -> None:
    """Set both layers of the decoder's `nn.LSTM`, whose input has the latent in its last LATENT_DIMENSION channels."""
    for parameter in lstm.parameters():
        parameter.mul_(OTHER_SCALE)
    spread = quantiser.codebooks.sum(0).std(0).clamp(min=0.3)
    _set_oscillators(lstm, spread)
    _set_loudness_gates(lstm, quantiser, spread)


def _set_oscillators(lstm: Any, spread: Tensor) -> None:
    """First layer: the oscillators, and the latent divided by its standard deviations ``[LATENT_DIMENSION]``."""
    gain = 1 + AMPLITUDE**2 / 2
    weight, recurrent = _gates(lstm.weight_ih_l0), _gates(lstm.weight_hh_l0)
    for matrix in (*weight, *recurrent):
        matrix.zero_()
    lstm.bias_hh_l0.zero_()
    for bias, value in zip(_gates(lstm.bias_ih_l0), (GATE_OPEN, GATE_CLOSED, 0.0, GATE_OPEN), strict=True):
        bias.fill_(value)
    candidate, bias = recurrent[2], _gates(lstm.bias_ih_l0)[2]
    bias[STARTED_CELL] = 10.0
    started = float(np.tanh(1.0))
    for oscillator, angle in enumerate(calibrated_angles(gain)):
        x, y = 2 * oscillator, 2 * oscillator + 1
        rotation = gain * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        candidate[x : y + 1, x : y + 1] = rotation.float()
        # An impulse at the first frame: from the second on, the started cell cancels the bias.
        impulse = float(np.arctanh(np.arctanh(AMPLITUDE)))
        bias[x] = impulse
        candidate[x, STARTED_CELL] = -impulse / started
    for dimension in range(LATENT_DIMENSION):
        weight[2][LATENT_CELLS + dimension, dimension - LATENT_DIMENSION] = LATENT_SCALE / float(spread[dimension])


def _set_loudness_gates(lstm: Any, quantiser: Quantiser, spread: Tensor) -> None:
    """Second layer: output gates follow the loudness of the tone; their sigmoid inverts the features' logarithm."""
    weight = _gates(lstm.weight_ih_l1)
    biases = _gates(lstm.bias_ih_l1)
    to_features = torch.linalg.pinv(quantiser.components)  # [FEATURES, LATENT_DIMENSION]
    for oscillator in range(OSCILLATORS):
        feature = BANDS + oscillator
        for cell in (2 * oscillator, 2 * oscillator + 1):
            weight[2][cell] = 0.0
            weight[2][cell, cell] = 2.0
            weight[3][cell] = 0.0
            weight[3][cell, LATENT_CELLS : LATENT_CELLS + LATENT_DIMENSION] = (
                to_features[feature] * spread / LATENT_SCALE
            )
            biases[0][cell], biases[1][cell], biases[2][cell] = GATE_OPEN, GATE_CLOSED, 0.0
            biases[3][cell] = float(quantiser.mean[feature]) + float(np.log(KNEE * GATE_GAIN))
    recurrent = _gates(lstm.weight_hh_l1)
    for matrix in recurrent:
        matrix[: 2 * OSCILLATORS] = 0.0
