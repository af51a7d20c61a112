"""Gives the decoder a sense of pitch: an LSTM whose first layer turns a wheel for every tone of the scale.

Convolutions cannot tell one frame of a held note from the next: from codes without phase they make sound that
repeats every 20 ms, a 50 Hz buzz in place of the note. An LSTM can keep time. So its first layer starts as (and
stays) a bank of oscillators, one pair of cells for each tone, which turn by the tone's phase advance per frame;
the second layer's output gates set how loud each is. Both are set here from the codec's own quantiser, and the
rest of the decoder learns from there.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo.synth import FRAME, SAMPLE_RATE
from demo.training.features import BANDS, HIGH_TONES, KNEE, LOW_TONES
from demo.training.quantiser import DIMENSION, Quantiser

TONES = range(LOW_TONES[0], HIGH_TONES[-1] + 1)
PAIRS = len(TONES)
FLAG = 2 * PAIRS  # the cell that is 0 before the first frame and saturated ever after
PASS = FLAG + 1  # the first of the cells that hand the latent on to the second layer
RADIUS = 0.3  # amplitude of the cells as they turn
OPEN, SHUT = 8.0, -8.0  # gate biases


def _turn(angle: NDArray[np.float64], gain: float, steps: int) -> NDArray[np.complex128]:
    """The states of cells turning by `angle` a step, ``[steps, tones]``, with the LSTM's two tanh between."""
    state = np.full(len(angle), RADIUS, np.complex128)
    states = []
    for _ in range(steps):
        states.append(state)
        turned = gain * np.exp(1j * angle) * state
        state = np.tanh(np.tanh(turned.real)) + 1j * np.tanh(np.tanh(turned.imag))
    return np.array(states)


def calibrated_angles(gain: float) -> NDArray[np.float64]:
    """Turns per frame, in radians, with which the cells keep each tone's true frequency."""
    frequency = 440 * 2 ** ((np.array(TONES) - 69) / 12)
    wanted = 2 * np.pi * frequency * FRAME / SAMPLE_RATE
    angle = wanted.copy()
    for _ in range(6):
        states = _turn(angle, gain, 1000)
        turned = np.angle((states[1:] / states[:-1]) * np.exp(-1j * wanted)).mean(0)
        angle -= turned
    return angle


def _blocks(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An LSTM parameter's rows: input gate, forget gate, candidate, output gate."""
    first, second, third, fourth = matrix.chunk(4)
    return first, second, third, fourth


@torch.no_grad()
def wind_up(lstm: Any, quantiser: Quantiser) -> None:
    """Sets both layers of the decoder's `nn.LSTM`, whose input holds the latent in its last DIMENSION channels."""
    for parameter in lstm.parameters():
        parameter.mul_(0.2)
    _wind_oscillators(lstm, quantiser)
    _wind_gates(lstm, quantiser)


def _wind_oscillators(lstm: Any, quantiser: Quantiser) -> None:
    gain = 1 + RADIUS**2 / 2
    weight, recurrent = _blocks(lstm.weight_ih_l0), _blocks(lstm.weight_hh_l0)
    for matrix in (*weight, *recurrent):
        matrix.zero_()
    lstm.bias_hh_l0.zero_()
    for bias, value in zip(_blocks(lstm.bias_ih_l0), (OPEN, SHUT, 0.0, OPEN), strict=True):
        bias.fill_(value)
    candidate, bias = recurrent[2], _blocks(lstm.bias_ih_l0)[2]
    bias[FLAG] = 10.0
    started = float(np.tanh(1.0))
    for pair, angle in enumerate(calibrated_angles(gain)):
        x, y = 2 * pair, 2 * pair + 1
        turn = gain * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        candidate[x : y + 1, x : y + 1] = turn.float()
        # One push, at the first frame: from the second on, the flag takes the bias back.
        push = float(np.arctanh(np.arctanh(RADIUS)))
        bias[x] = push
        candidate[x, FLAG] = -push / started
    spread = quantiser.codebooks.sum(0).std(0).clamp(min=0.3)
    for dimension in range(DIMENSION):
        weight[2][PASS + dimension, dimension - DIMENSION] = 0.4 / float(spread[dimension])


def _wind_gates(lstm: Any, quantiser: Quantiser) -> None:
    """Output gates open as far as the tone is loud: the sigmoid undoes the features' logarithm."""
    weight = _blocks(lstm.weight_ih_l1)
    biases = _blocks(lstm.bias_ih_l1)
    spread = quantiser.codebooks.sum(0).std(0).clamp(min=0.3)
    to_features = torch.linalg.pinv(quantiser.components)  # [features, DIMENSION]
    for pair in range(PAIRS):
        for cell in (2 * pair, 2 * pair + 1):
            weight[2][cell] = 0.0
            weight[2][cell, cell] = 2.0
            weight[3][cell] = 0.0
            weight[3][cell, PASS : PASS + DIMENSION] = to_features[BANDS + pair] * spread / 0.4
            biases[0][cell], biases[1][cell], biases[2][cell] = OPEN, SHUT, 0.0
            biases[3][cell] = float(quantiser.mean[BANDS + pair]) + float(np.log(KNEE * 8))
    recurrent = _blocks(lstm.weight_hh_l1)
    for matrix in recurrent:
        matrix[: 2 * PAIRS] = 0.0
