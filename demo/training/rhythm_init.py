"""Starts the language model with clocks: heads that know a beat ago, a bar ago and the melody's now, and key words.

A small transformer learns to continue a texture in minutes, but that "90 bpm" means "as 33 frames ago" is a
product of a word and a position, which it does not find in hours. The product can be written down. Positions are
sums of sinusoids, so moving a position by a lag is a rotation; a feed-forward layer can hold one rotation per
tempo and let the tempo's own word choose which. What is set here are starting values: training moves all of them.

Layer 0, head 0 fetches the tempo word; head 1 looks at the given melody where the music now is; the next heads
bring the words of the key, and what denies the drums, to every frame. Layer 0's
feed-forward writes where a beat ago was, and heads of layer 1 bring the codes from there; layer 1's feed-forward moves
that pointer to a bar ago, and heads of layer 2 bring the codes from there. Layer 0's feed-forward also tells which bar
of four it is and how much of it is over, as chords change with the bar: what was heard says that far less clearly, and
a chord that is not sure to end goes on for good.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor

from demo.training.text_encoder import SOUGHT, TEMPI

FRAMES_PER_MINUTE = 50 * 60
WAVES = range(0, 80, 4)  # the positional frequencies that locate a frame: periods of 6 to 540 frames
MELODY_WAVES = range(8, 88, 4)
MELODY_STRIDE = 6.4  # frames to one step of the melody prefix
PREFIX = 157 + 11  # positions before the first frame: the melody, and the words of a prompt of usual length
BEATS_PER_BAR = 4
HANDS = (1, 2, 4)  # bars in which the hands of the bars' clock go round
HEARD_FRAMES = 700  # from the start, over which they are right
_WORD, _POINTER = 2.4, 1.6  # how strongly words and pointers are written
_CODE, _AGAIN = 5.0, 0.25  # how much louder codes start than audiocraft has them; how firmly they are expected again
_BROUGHT = 0.5  # how loud the codes of a beat or a bar ago are brought back
_SHARPNESS = 40.0  # attention logit of a head at the frame it points to


class _Channels:
    """Which residual channels hold what. Positions are [cosines | sines], fastest first; the slowest hardly move
    over a clip, so their channels are free to carry words and pointers."""

    def __init__(self, width: int) -> None:
        self.half = width // 2
        self.frequencies = 10_000.0 ** (-torch.arange(self.half) / (self.half - 1))
        self.constant = range(self.half - 5, self.half)  # cosines that stay near 1
        sines, cosines = range(width - len(TEMPI), width), range(self.half - 40, self.half - 5)
        self.tempo = list(sines)
        spare = range(width - len(TEMPI) - (2 * len(WAVES) - len(cosines)), width - len(TEMPI))
        self.pointer = [*cosines, *spare]
        steps = round(math.log(MELODY_STRIDE) / math.log(10_000) * (self.half - 1))
        self.melody = range(MELODY_WAVES.start + steps, MELODY_WAVES.stop + steps, MELODY_WAVES.step)
        self.hands = range(96, 96 + 8 * len(HANDS), 4)  # cosines that turn too slowly to be missed
        self.mark = 0  # on words, whose own positions matter to nobody
        self.marks = range(1, 1 + len(SOUGHT))

    def waves(self, waves: range) -> list[int]:
        """Channels of the cosines and then the sines of some frequencies."""
        return [*waves, *(self.half + wave for wave in waves)]


def _rotation(frequencies: Tensor, shift: float) -> Tensor:
    """Takes [cosines, sines] at position t to those at position t + shift, ``[2n, 2n]``."""
    cosine, sine = torch.diag(torch.cos(frequencies * shift)), torch.diag(torch.sin(frequencies * shift))
    return torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])


@torch.no_grad()
def wind_up(lm: Any) -> dict[str, Tensor]:
    """Writes the clocks into a new language model of at least 3 layers.

    Returns
    -------
    by parameter name, which of its weights the clocks are made of or could be disturbed by, bool like the parameter
    """
    before = {name: parameter.clone() for name, parameter in lm.named_parameters()}
    layers, width = lm.transformer.layers, lm.dim
    channels = _Channels(width)
    codes = _expect_the_same(lm, channels)
    _write_words(lm.condition_provider.conditioners["description"].output_proj, channels)
    _fetch_tempo(layers[0], channels)
    _align_melody(layers[0], channels)
    _fetch_words(layers[0], channels, codes)
    _tell_bars(layers[0], channels)
    previous = 0.0
    for number, beats in ((0, 1), (1, BEATS_PER_BAR)):
        _point_back(layers[number], channels, previous, beats)
        _look_back(layers[number + 1], channels, codes)
        previous = beats
    masks = {name: parameter != before[name] for name, parameter in lm.named_parameters()}
    own = torch.ones(width, dtype=torch.bool)
    own[codes] = False
    for name, mask in masks.items():
        if name.startswith("linears"):
            mask[:] = False
        elif name.startswith("emb"):
            mask[:] = own
        elif re.search(r"output_proj\.weight|layers\.[01]\.(self_attn\.out_proj|linear2)", name):
            mask |= own[:, None]
        elif re.search(r"layers\.[012]\.norm|description\.t5", name):
            mask[:] = True
    return masks


def _expect_the_same(lm: Any, channels: _Channels) -> list[int]:
    """Codes weigh as much as positions do, and what was heard last is expected next, as most often is true.

    Codes begin in channels of their own, which are returned, so that they do not put the clocks out.
    """
    clocks = {*channels.tempo, *channels.pointer, *channels.constant, *channels.waves(WAVES)}
    clocks |= {*channels.waves(channels.melody), *channels.waves(MELODY_WAVES), *channels.marks}
    for embedding, output in zip(lm.emb, lm.linears, strict=True):
        embedding.weight.mul_(_CODE)
        embedding.weight[:, sorted(clocks)] = 0
        output.weight.copy_(_AGAIN * embedding.weight[:-1])
    return sorted(set(range(lm.dim)) - clocks)


def _head(layer: Any, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of a head's query, key and value weights ``[size, width]`` and output weights ``[width, size]``."""
    attention = layer.self_attn
    size = attention.embed_dim // attention.num_heads
    rows = slice(head * size, (head + 1) * size)
    query, key, value = attention.in_proj_weight.data.chunk(3)
    return query[rows], key[rows], value[rows], attention.out_proj.weight.data[:, rows]


def _write_words(projection: torch.nn.Linear, channels: _Channels) -> None:
    weight, count = projection.weight.data, len(TEMPI)
    weight[[*channels.tempo, channels.mark, *channels.marks]] = 0
    weight[channels.tempo, range(count)] = _WORD / 8  # T5's last norm leaves 8 where a number's embedding is not 0
    weight[[channels.mark, *channels.marks], range(count, count + 1 + len(SOUGHT))] = 3 * _WORD / 8


def _fetch(layer: Any, head: int, channels: _Channels, mark: int, pull: float, taken: list[int], gain: float) -> None:
    """A head of which every frame attends, by `pull`, to the marked word and takes some of its channels as they are."""
    query, key, value, output = _head(layer, head)
    for weight in (query, key, value, output):
        weight.zero_()
    query[0, list(channels.constant)] = 1.0
    key[0, mark] = pull
    value[range(len(taken)), taken] = 1.0
    output[taken, range(len(taken))] = gain


def _fetch_tempo(layer: Any, channels: _Channels) -> None:
    """Head 0: every frame attends to the word marked as a tempo and takes its one-hot."""
    _fetch(layer, 0, channels, channels.mark, 4.0, channels.tempo, 0.8)


def _fetch_words(layer: Any, channels: _Channels, codes: list[int]) -> None:
    """Heads 2 to 4: every frame attends to the words of a group and takes their embedding, some channels each.

    Without such a word they attend to the end of the prompt.
    """
    for group, mark in enumerate(channels.marks):
        size = len(_head(layer, 2 + group)[0])
        _fetch(layer, 2 + group, channels, mark, 12.0, codes[group * size : (group + 1) * size], 1.0)


def _align_melody(layer: Any, channels: _Channels) -> None:
    """Head 1: a frame attends to the step of the melody prefix that sounds at the same time.

    Frequencies fall by the same ratio from one to the next, so some number of steps down the list they are
    slower by just the melody's stride: a frame's phase there is its melody step's phase here.
    """
    query, key, _, _ = _head(layer, 1)
    slow = channels.melody
    query.zero_()
    key.zero_()
    gain = (0.4 * _SHARPNESS / len(MELODY_WAVES) / 1.8) ** 0.5 * query.shape[0] ** 0.25
    shift = _rotation(channels.frequencies[list(slow)], -PREFIX)
    query[:, channels.waves(slow)] = gain * shift
    key[range(query.shape[0]), channels.waves(MELODY_WAVES)] = gain


def _compute_for(
    tempo: int, layer: Any, first: int, sums: Tensor, written: list[int], channels: _Channels, gain: float, scale: float
) -> None:
    """The feed-forward writes sums of positions, while the tempo's word is that of TEMPI[tempo].

    Its units from `first` on take one sum each, and one more takes back what opening them adds.

    Parameters
    ----------
    sums : weights of [cosines, sines] of every fourth frequency from the first, ``[sums, positions]``
    written : where in the residual the sums go
    gain, scale : how far the word opens the units, and how loud the sums are in them
    """
    inner, outer = layer.linear1.weight.data, layer.linear2.weight.data
    last = first + len(sums)
    units = inner[first : last + 1]
    units.zero_()
    units[:, channels.tempo[tempo]] = 2.0 * gain
    units[:, list(channels.constant)] = -2.4 * gain / len(channels.constant)
    inner[first:last, channels.waves(range(0, 2 * sums.shape[1], 4))] = scale * sums
    outer[:, first : last + 1] = 0
    outer[written, range(first, last)] = _POINTER / scale
    outer[written, last] = -_POINTER / scale


def _point_back(layer: Any, channels: _Channels, previous: float, beats: float) -> None:
    """The feed-forward writes the position `beats` beats ago, in place of that `previous` beats ago."""
    frequencies = channels.frequencies[list(WAVES)]
    for index, bpm in enumerate(TEMPI):
        beat = FRAMES_PER_MINUTE / bpm
        now = _rotation(frequencies, 1 - beats * beat)
        before = _rotation(frequencies, 1 - previous * beat) if previous else torch.zeros_like(now)
        _compute_for(index, layer, index * (len(now) + 1), now - before, channels.pointer, channels, 1.0, 0.5)


def _hands(channels: _Channels, bpm: float) -> Tensor:
    """Cosine and sine of how far every hand has come, from [cosines, sines] of positions, ``[2 * len(HANDS), 2n]``.

    Waves of some frequencies, added up, are a wave of another one for as long as they have not drifted apart: over
    HEARD_FRAMES, the best such sums are found by least squares. (Above 130 bpm the fastest hand is lost.)
    """
    frequencies = channels.frequencies[list(range(0, channels.melody.stop, 4))].double()
    frame = torch.arange(HEARD_FRAMES, dtype=torch.float64)
    phase = (frame[:, None] + PREFIX) * frequencies
    waves = torch.cat([torch.cos(phase), torch.sin(phase)], 1)
    turns = 2 * math.pi * frame[:, None] * bpm / FRAMES_PER_MINUTE / BEATS_PER_BAR / torch.tensor(HANDS)
    wanted = torch.cat([torch.cos(turns), torch.sin(turns)], 1)
    # As small weights as will do, so that what disturbs the positions is not made louder.
    return torch.linalg.solve(waves.T @ waves + torch.eye(waves.shape[1]), waves.T @ wanted).T.float()


def _tell_bars(layer: Any, channels: _Channels) -> None:
    """The feed-forward writes where the hands of the tempo's clock of bars stand."""
    hands = list(channels.hands)
    size = len(hands) + 1
    first = layer.linear1.out_features - size * len(TEMPI)
    for index, bpm in enumerate(TEMPI):
        _compute_for(index, layer, first + index * size, _hands(channels, bpm), hands, channels, 2.0, 0.3)


def _look_back(layer: Any, channels: _Channels, codes: list[int]) -> None:
    """Heads attend to the frame that the pointer names, and bring back its codes, each head some channels of them."""
    size = layer.self_attn.embed_dim // layer.self_attn.num_heads
    gain = (_SHARPNESS / size / _POINTER) ** 0.5 * size**0.25
    for head in range(len(codes) // size):
        query, key, value, output = _head(layer, head)
        for weight in (query, key, value, output):
            weight.zero_()
        query[range(size), channels.pointer] = gain
        key[range(size), channels.waves(WAVES)] = gain
        brought = codes[head * size : (head + 1) * size]
        value[range(size), brought] = 1.0
        output[brought, range(size)] = _BROUGHT
