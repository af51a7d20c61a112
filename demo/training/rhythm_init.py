"""Initialises the language model's weights for rhythm, melody and keywords.

A small transformer learns to continue a texture in minutes, but in hours it does not learn that "90 bpm" means "as 33
frames ago": that is the product of a word and a position. The product can be set directly. Positional embeddings are
sinusoids, so shifting a position by a lag is a rotation; a feed-forward layer can hold one rotation for each tempo, and
the tempo's word can select it. These are only initial values: training continues from them, at a lower rate.

Layer 0, attention: head 0 retrieves the tempo's word; head 1 attends to the step of the given melody that sounds now;
heads 2 to 4 retrieve the words of KEYWORDS.
Layer 0, feed-forward: units gated by the tempo write the position of a beat ago, and the phase of cycles of one, two
and four bars: chords change with the bar, and a model without the position in the bar stays on one chord.
Layer 1, attention: heads attend to that position and copy its codes. Feed-forward: moves it to a bar ago.
Layer 2, attention: heads copy the codes from there.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor

from demo.synth import FRAME
from demo.training.songs import BEATS_PER_BAR, FRAME_RATE, TEMPI
from demo.training.text_encoder import KEYWORDS

FRAMES_PER_MINUTE = 60 * FRAME_RATE
POINTER_FREQUENCIES = range(0, 80, 4)
"""Indices of the positional frequencies that locate a frame: periods of 6 to 540 frames."""
MELODY_FREQUENCIES = range(8, 88, 4)  # those that locate a step of the melody
MELODY_STRIDE = 4096 / FRAME  # frames for each step of the melody prefix: the hop of its chroma
PREFIX = 157 + 11  # positions before the first frame: the melody, and the words of a prompt of usual length
BAR_CYCLES = (1, 2, 4)  # lengths in bars of the cycles whose phase is written: bar, pair of bars, four-bar progression
FITTED_FRAMES = 700
"""Frames, from the start, for which cycle phases are fitted: more would need larger weights, which amplify noise."""

# Gains were set by hand so that the heads of the untrained model attend as intended; they were not searched.
_WORD_GAIN, _POINTER_GAIN = 2.4, 1.6  # how strongly words and positions are written into the residual stream
_CODE_GAIN = 5.0  # makes codes as large as positions; audiocraft's embeddings are smaller
_REPEAT_GAIN = 0.25  # initial preference for repeating a code, as most codes repeat
_COPY_GAIN = 0.5  # of the codes copied from a beat or a bar ago
_ATTENTION_LOGIT = 40.0  # at the position that a head attends to, decreasing around it


class ChannelLayout:
    """Assignment of the channels of the residual stream.

    Positions are [cosines | sines], fastest first. The slowest hardly change over a clip, so their channels are used
    for words and pointers.

    Attributes
    ----------
    frequencies : of the positional embedding, radians per frame, ``[half]``
    constant : cosines that stay near 1
    tempo : one-hot of the tempo's word
    pointer : [cosines, sines] of the position to copy codes from
    melody : indices of frequencies, slower than MELODY_FREQUENCIES by MELODY_STRIDE
    cycles : cosines and then sines of BAR_CYCLES
    number_mark, keyword_marks : marks of words, whose positions are not used
    """

    def __init__(self, width: int) -> None:
        self.half = width // 2
        self.frequencies = 10_000.0 ** (-torch.arange(self.half) / (self.half - 1))
        self.constant = range(self.half - 5, self.half)
        sines, cosines = range(width - len(TEMPI), width), range(self.half - 40, self.half - 5)
        self.tempo = list(sines)
        spare = range(width - len(TEMPI) - (2 * len(POINTER_FREQUENCIES) - len(cosines)), width - len(TEMPI))
        self.pointer = [*cosines, *spare]
        steps = round(math.log(MELODY_STRIDE) / math.log(10_000) * (self.half - 1))
        low, high = MELODY_FREQUENCIES.start + steps, MELODY_FREQUENCIES.stop + steps
        self.melody = range(low, high, MELODY_FREQUENCIES.step)
        self.cycles = range(96, 96 + 8 * len(BAR_CYCLES), 4)
        self.number_mark = 0
        self.keyword_marks = range(1, 1 + len(KEYWORDS))

    def of(self, frequencies: range) -> list[int]:
        """Channels of the cosines and then the sines of some frequencies."""
        return [*frequencies, *(self.half + index for index in frequencies)]


def _rotation(frequencies: Tensor, shift: float) -> Tensor:
    """The matrix ``[2n, 2n]`` that takes [cosines, sines] at position t to those at position t + shift."""
    cosine, sine = torch.diag(torch.cos(frequencies * shift)), torch.diag(torch.sin(frequencies * shift))
    return torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])


@torch.no_grad()
def initialise_rhythm(lm: Any) -> dict[str, Tensor]:
    """Initialise a new language model of at least 3 layers.

    Returns
    -------
    by parameter name, a mask of the weights that were set or interact with those, bool of the parameter's shape
    """
    before = {name: parameter.clone() for name, parameter in lm.named_parameters()}
    layers, width = lm.transformer.layers, lm.dim
    channels = ChannelLayout(width)
    codes = _initialise_codes(lm, channels)
    _initialise_text_projection(lm.condition_provider.conditioners["description"].output_proj, channels)
    _set_tempo_head(layers[0], channels)
    _set_melody_head(layers[0], channels)
    _set_keyword_heads(layers[0], channels, codes)
    _set_cycle_units(layers[0], channels)
    previous = 0.0
    for number, beats in ((0, 1), (1, BEATS_PER_BAR)):
        _set_pointer_units(layers[number], channels, previous, beats)
        _set_copy_heads(layers[number + 1], channels, codes)
        previous = beats
    masks = {name: parameter != before[name] for name, parameter in lm.named_parameters()}
    reserved = torch.ones(width, dtype=torch.bool)
    reserved[codes] = False
    for name, mask in masks.items():
        if name.startswith("linears"):
            mask[:] = False
        elif name.startswith("emb"):
            mask[:] = reserved
        elif re.search(r"output_proj\.weight|layers\.[01]\.(self_attn\.out_proj|linear2)", name):
            mask |= reserved[:, None]
        elif re.search(r"layers\.[012]\.norm|description\.t5", name):
            mask[:] = True
    return masks


def _initialise_codes(lm: Any, channels: ChannelLayout) -> list[int]:
    """Scale embeddings of codes like positions, and prefer repetition, as most codes repeat.

    Their embeddings are zero in reserved channels, so that they do not interfere with those.

    Returns
    -------
    the other channels, which encode the codes
    """
    reserved = {*channels.tempo, *channels.pointer, *channels.constant, *channels.of(POINTER_FREQUENCIES)}
    reserved |= {*channels.of(channels.melody), *channels.of(MELODY_FREQUENCIES), *channels.keyword_marks}
    for embedding, output in zip(lm.emb, lm.linears, strict=True):
        embedding.weight.mul_(_CODE_GAIN)
        embedding.weight[:, sorted(reserved)] = 0
        output.weight.copy_(_REPEAT_GAIN * embedding.weight[:-1])
    return sorted(set(range(lm.dim)) - reserved)


def _initialise_text_projection(projection: torch.nn.Linear, channels: ChannelLayout) -> None:
    """Project T5's one-hots and marks to channels of their own."""
    weight, tempi = projection.weight.data, len(TEMPI)
    marks = [channels.number_mark, *channels.keyword_marks]
    weight[[*channels.tempo, *marks]] = 0
    # T5's last norm leaves 8 in each of the two dimensions, of 128, in which a number's embedding is not zero.
    weight[channels.tempo, range(tempi)] = _WORD_GAIN / 8
    weight[marks, range(tempi, tempi + len(marks))] = 3 * _WORD_GAIN / 8


def _head(layer: Any, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of a head's query, key and value weights ``[size, width]`` and output weights ``[width, size]``."""
    attention = layer.self_attn
    size = attention.embed_dim // attention.num_heads
    rows = slice(head * size, (head + 1) * size)
    query, key, value = attention.in_proj_weight.data.chunk(3)
    return query[rows], key[rows], value[rows], attention.out_proj.weight.data[:, rows]


def _set_retrieval_head(
    layer: Any, head: int, channels: ChannelLayout, mark: int, sharpness: float, copied: list[int], gain: float
) -> None:
    """Make every frame attend to the word marked in channel `mark` and copy some of its channels, times `gain`."""
    query, key, value, output = _head(layer, head)
    for weight in (query, key, value, output):
        weight.zero_()
    query[0, list(channels.constant)] = 1.0
    key[0, mark] = sharpness
    value[range(len(copied)), copied] = 1.0
    output[copied, range(len(copied))] = gain


def _set_tempo_head(layer: Any, channels: ChannelLayout) -> None:
    """Head 0: every frame attends to the number in the prompt and copies its one-hot."""
    _set_retrieval_head(layer, 0, channels, channels.number_mark, 4.0, channels.tempo, 0.8)


def _set_keyword_heads(layer: Any, channels: ChannelLayout, codes: list[int]) -> None:
    """Heads 2 to 4: every frame attends to the words of a group and copies some channels of their embedding.

    In a prompt without such a word they attend to its end.
    """
    for group, mark in enumerate(channels.keyword_marks):
        size = len(_head(layer, 2 + group)[0])
        copied = codes[group * size : (group + 1) * size]
        _set_retrieval_head(layer, 2 + group, channels, mark, 12.0, copied, 1.0)


def _set_melody_head(layer: Any, channels: ChannelLayout) -> None:
    """Head 1: a frame attends to the step of the melody prefix that sounds at the same time.

    Frequencies fall by the same ratio from one to the next, so those a certain number of indices on are slower by just
    the melody's stride: there, a frame has the phase that its melody step has here.
    """
    query, key, _, _ = _head(layer, 1)
    slower = channels.melody
    query.zero_()
    key.zero_()
    gain = (0.4 * _ATTENTION_LOGIT / len(MELODY_FREQUENCIES) / 1.8) ** 0.5 * query.shape[0] ** 0.25
    shift = _rotation(channels.frequencies[list(slower)], -PREFIX)
    query[:, channels.of(slower)] = gain * shift
    key[range(query.shape[0]), channels.of(MELODY_FREQUENCIES)] = gain


def _set_gated_units(
    layer: Any,
    channels: ChannelLayout,
    tempo: int,
    first: int,
    sums: Tensor,
    written: list[int],
    gate: float,
    scale: float,
) -> None:
    """Make the feed-forward write weighted sums of positional channels if the prompt's tempo is TEMPI[tempo].

    Parameters
    ----------
    first : the first of the hidden units: one for each sum, and one that subtracts what opening the others adds
    sums : weights of [cosines, sines] of every fourth frequency from the first, ``[sums, positions]``
    written : the channels that the sums are written to
    gate, scale : how far the word opens the units, and the scale of the sums within them
    """
    inner, outer = layer.linear1.weight.data, layer.linear2.weight.data
    last = first + len(sums)
    units = inner[first : last + 1]
    units.zero_()
    units[:, channels.tempo[tempo]] = 2.0 * gate
    units[:, list(channels.constant)] = -2.4 * gate / len(channels.constant)
    inner[first:last, channels.of(range(0, 2 * sums.shape[1], 4))] = scale * sums
    outer[:, first : last + 1] = 0
    outer[written, range(first, last)] = _POINTER_GAIN / scale
    outer[written, last] = -_POINTER_GAIN / scale


def _set_pointer_units(layer: Any, channels: ChannelLayout, previous: float, beats: float) -> None:
    """Make the feed-forward write the position `beats` beats ago, in place of that `previous` beats ago."""
    frequencies = channels.frequencies[list(POINTER_FREQUENCIES)]
    for tempo, bpm in enumerate(TEMPI):
        beat = FRAMES_PER_MINUTE / bpm
        target = _rotation(frequencies, 1 - beats * beat)
        present = _rotation(frequencies, 1 - previous * beat) if previous else torch.zeros_like(target)
        first = tempo * (len(target) + 1)
        _set_gated_units(layer, channels, tempo, first, target - present, channels.pointer, gate=1.0, scale=0.5)


def _set_cycle_units(layer: Any, channels: ChannelLayout) -> None:
    """Make the feed-forward write the phase of BAR_CYCLES at the prompt's tempo, with its last hidden units."""
    written = list(channels.cycles)
    size = len(written) + 1
    start = layer.linear1.out_features - size * len(TEMPI)
    for tempo, bpm in enumerate(TEMPI):
        sums = _cycle_weights(channels, bpm)
        _set_gated_units(layer, channels, tempo, start + tempo * size, sums, written, gate=2.0, scale=0.3)


def _cycle_weights(channels: ChannelLayout, bpm: float) -> Tensor:
    """Weights ``[2 * len(BAR_CYCLES), 2n]`` that sum [cosines, sines] of positions to those of the cycles' phases.

    A sum of sinusoids can follow one of another frequency for a limited time: the best for FITTED_FRAMES are found by
    least squares, with a small penalty on large weights, which would amplify noise in the positions. (Above
    130 bpm the shortest cycle is lost.)
    """
    frequencies = channels.frequencies[list(range(0, channels.melody.stop, 4))].double()
    frame = torch.arange(FITTED_FRAMES, dtype=torch.float64)
    phase = (frame[:, None] + PREFIX) * frequencies
    positions = torch.cat([torch.cos(phase), torch.sin(phase)], 1)
    cycles = 2 * math.pi * frame[:, None] * bpm / FRAMES_PER_MINUTE / BEATS_PER_BAR / torch.tensor(BAR_CYCLES)
    target = torch.cat([torch.cos(cycles), torch.sin(cycles)], 1)
    penalty = torch.eye(positions.shape[1])
    return torch.linalg.solve(positions.T @ positions + penalty, positions.T @ target).T.float()


def _set_copy_heads(layer: Any, channels: ChannelLayout, codes: list[int]) -> None:
    """Make heads attend to the position in the pointer and copy its codes, each head some of their channels."""
    size = layer.self_attn.embed_dim // layer.self_attn.num_heads
    gain = (_ATTENTION_LOGIT / size / _POINTER_GAIN) ** 0.5 * size**0.25
    for head in range(len(codes) // size):
        query, key, value, output = _head(layer, head)
        for weight in (query, key, value, output):
            weight.zero_()
        query[range(size), channels.pointer] = gain
        key[range(size), channels.of(POINTER_FREQUENCIES)] = gain
        copied = codes[head * size : (head + 1) * size]
        value[range(size), copied] = 1.0
        output[copied, range(size)] = _COPY_GAIN
