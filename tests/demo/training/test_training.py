"""The training code in miniature: what is learned, kept, left out and exported."""

from pathlib import Path

import numpy as np
import pytest
import torch

from demo import measure
from demo.synth import SAMPLE_RATE, Synthesiser, seeds
from demo.training import features, quantiser
from demo.training import losses as sound_losses
from demo.training import rhythm_init as clockwork
from demo.training import songs as data
from demo.training import text_encoder as text
from demo.training import train_language_model as train_lm
from demo.training.codec import create as create_codec
from demo.training.language_model import conditions, losses
from demo.training.language_model import create as create_lm
from demo.training.oscillator_init import PAIRS, TONES, calibrated_angles
from demo.training.quantiser import Quantiser


@pytest.fixture(scope="module")
def teacher() -> Quantiser:
    frames = features.features(*data.codec_clips(0, 12, 4.0)).flatten(0, 1)
    return quantiser.fit(frames, rounds=3)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    text.write_tokenizer(folder)
    text.write_encoder(folder)
    return folder


def test_features_measure_a_tone_and_forget_its_phase() -> None:
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    first, second = (0.3 * torch.sin(2 * torch.pi * 440 * time + phase) for phase in (0.0, 1.0))
    silence = torch.zeros(1, SAMPLE_RATE)
    a, b = (features.features(silence, wave[None])[0, 25, features.BANDS :] for wave in (first, second))
    loudest = int(a.argmax())
    assert features.LOW_TONES[0] + loudest == 69
    assert torch.expm1(a[loudest]) * features.KNEE == pytest.approx(0.3, rel=0.02)
    assert torch.allclose(a, b, atol=0.05)


def test_drums_are_heard_in_the_bands_and_nothing_else_is() -> None:
    drums, others = data.codec_clips(0, 4, 2.0)
    quiet = features.features(torch.zeros_like(drums), others)
    loud = features.features(drums, others)
    bands, tones = slice(0, features.BANDS), slice(features.BANDS, None)
    assert quiet[..., bands].max() < 0.1 * loud[..., bands].max()
    assert torch.equal(quiet[..., tones], loud[..., tones])


def test_each_codebook_keeps_to_its_own_dimensions(teacher: Quantiser) -> None:
    owners = teacher.codebooks.abs().sum(1).reshape(quantiser.CODEBOOKS, quantiser.CODEBOOKS, -1).sum(-1)
    assert torch.equal(owners > 0, torch.eye(quantiser.CODEBOOKS, dtype=torch.bool))


def test_a_bar_of_drums_comes_back_in_the_same_codes_under_another_chord(teacher: Quantiser) -> None:
    song = Synthesiser(snap=True).song(5, 8.0, bpm=120, style="rock", drums=True, beats_per_bar=4)
    drums = torch.from_numpy(song.stems["drums"])[None]
    codes = teacher.encode(teacher.latent(drums, torch.from_numpy(song.audio)[None] - drums))[0]
    bar, other = codes[:, 0:100], codes[:, 100:200]
    assert song.chords[0].label != song.chords[1].label
    alike = (bar == other).float().mean(1)
    assert alike[0] > 0.5
    assert alike[0] > 2 * alike[1:].max()


def test_codes_come_back_as_nearly_the_same_sound(teacher: Quantiser) -> None:
    latent = teacher.latent(*data.codec_clips(0, 4, 2.0))
    codes = teacher.encode(latent)
    assert codes.shape == (4, quantiser.CODEBOOKS, 100)
    assert (teacher.decode(codes) - latent).square().mean() < 0.3 * latent.square().mean()


def test_tonewheels_keep_pitch(teacher: Quantiser) -> None:
    codec = create_codec(teacher, *data.codec_clips(0, 2, 1.0)).eval()
    lstm = next(module for module in codec.decoder.modules() if isinstance(module, torch.nn.LSTM))
    alone = torch.nn.LSTM(lstm.input_size, lstm.hidden_size, 1)
    first_layer = {name: value for name, value in lstm.state_dict().items() if name.endswith("l0")}
    alone.load_state_dict(first_layer)
    with torch.no_grad():
        states = alone(torch.zeros(400, 1, lstm.input_size))[0][:, 0, : 2 * PAIRS].double().numpy()
    turning = np.unwrap(np.angle(states[:, 0::2] + 1j * states[:, 1::2]), axis=0)
    frequency = 440 * 2 ** ((np.array(TONES) - 69) / 12)
    advance = 2 * np.pi * frequency / 50
    drift = np.angle(np.exp(1j * (turning[-1] - turning[100] - 299 * advance)))
    assert np.abs(drift).max() < 0.5  # of a turn of 6.28, in 6 seconds
    assert len(calibrated_angles(1.045)) == PAIRS


@pytest.mark.parametrize("bpm", [70, 90, 125])
def test_clocks_look_a_beat_back_before_any_training(reader: Path, bpm: int) -> None:
    torch.manual_seed(0)
    lm = create_lm(reader)[0].eval()
    seen: list[torch.Tensor] = []
    lm.transformer.layers[1].norm1.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    codes = torch.randint(0, quantiser.CODES, (1, quantiser.CODEBOOKS, 300))
    with torch.no_grad():
        lm.compute_predictions(codes, [], conditions(lm, [f"rock guitar with drums, {bpm} bpm"], [None]))
    query, key, _, _ = clockwork._head(lm.transformer.layers[1], 0)
    at = len(seen[0]) - 40
    scores = (seen[0] @ key.T) @ (seen[0][at] @ query.T)
    recent = scores[at - 150 : at + 1]  # what is longer ago, and the prefix, is left to training
    assert abs((150 - int(recent.argmax())) - (3000 / bpm - 1)) <= 2


@pytest.mark.parametrize("bpm", [60, 90, 125, 170])
def test_hands_tell_how_far_the_bar_and_four_bars_have_come(reader: Path, bpm: int) -> None:
    torch.manual_seed(0)
    lm = create_lm(reader)[0].eval()
    written: list[torch.Tensor] = []
    lm.transformer.layers[0].linear2.register_forward_hook(lambda _module, _inputs, output: written.append(output[0]))
    frames = torch.arange(500)
    codes = torch.randint(0, quantiser.CODES, (1, quantiser.CODEBOOKS, len(frames)))
    with torch.no_grad():
        lm.compute_predictions(codes, [], conditions(lm, [f"rock guitar with drums, {bpm} bpm"], [None]))
    start = len(written[0]) - len(frames) - quantiser.CODEBOOKS + 1
    hands = written[0][start : start + len(frames), clockwork._Channels(lm.dim).hands]
    for hand, bars in enumerate(clockwork.HANDS):
        if bars == 1 and bpm > 100:  # too fast for the slow waves that tell it
            continue
        turns = 2 * torch.pi * frames * bpm / (4 * 3000 * bars)
        for column, wanted in ((hand, torch.cos(turns)), (hand + len(clockwork.HANDS), torch.sin(turns))):
            assert torch.corrcoef(torch.stack([hands[:, column], wanted]))[0, 1] > 0.9


def test_a_step_of_training_lowers_the_loss(teacher: Quantiser, reader: Path) -> None:
    torch.manual_seed(0)
    lm, _ = create_lm(reader)
    chroma = lm.condition_provider.conditioners["self_wav"].chroma
    shard = data.make_shard(teacher, chroma, 0, 2, 2.0)
    given = [shard.captions[0], None], [shard.lead[0], None]
    sounding = teacher.sounding()
    optimiser = torch.optim.AdamW(lm.parameters(), 3e-4)
    before = losses(lm, shard.codes.long(), conditions(lm, *given), sounding).mean()
    torch.autograd.backward(before)
    optimiser.step()
    with torch.no_grad():
        assert losses(lm, shard.codes.long(), conditions(lm, *given), sounding).mean() < before


def test_codes_tell_whether_a_drum_sounds(teacher: Quantiser) -> None:
    song = Synthesiser(snap=True).song(5, 8.0, bpm=120, style="rock", drums=True, beats_per_bar=4)
    drums = torch.from_numpy(song.stems["drums"])[None]
    others = torch.from_numpy(song.audio)[None] - drums
    hits, none = (
        teacher.sounding()[teacher.encode(teacher.latent(heard, others))[0, 0]]
        for heard in (drums, torch.zeros_like(drums))
    )
    beats = torch.from_numpy(np.round(song.beats * 50).astype(int))
    assert hits[beats[beats < len(hits)]].float().mean() > 0.9
    assert not none.any()


def test_losses_are_told_as_guidance_draws_too(teacher: Quantiser, reader: Path) -> None:
    torch.manual_seed(0)
    lm, _ = create_lm(reader)
    chroma = lm.condition_provider.conditioners["self_wav"].chroma
    codes = data.make_shard(teacher, chroma, 0, 1, 2.0).codes.long()
    alike = conditions(lm, ["no drums", "no drums"], [None, None])
    apart = conditions(lm, ["no drums", None], [None, None])
    with torch.no_grad():
        same, other = (losses(lm, codes.repeat(2, 1, 1), tensors, teacher.sounding()) for tensors in (alike, apart))
    assert torch.allclose(*same)  # without a difference there is nothing to guide by
    assert not torch.isclose(*other).any()


def test_clips_are_interrupted_by_others_by_silence_and_by_bars_that_play_again() -> None:
    bar = 133  # frames, at 90 bpm
    codes = torch.arange(500).expand(2, quantiser.CODEBOOKS, 500) + torch.tensor([0, 1000])[:, None, None]
    silence = torch.full((quantiser.CODEBOOKS,), 9999)
    heard = [train_lm.interrupted(codes, ["90 bpm, piano", "piano"], silence, step) for step in range(60)]
    silent = torch.stack(heard) == 9999
    off = torch.where(silent, 0, torch.stack(heard) - codes)
    assert set(off[:, 0].flatten().tolist()) == {-3 * bar, -2 * bar, -bar, 0, 1000}
    assert set(off[:, 1].flatten().tolist()) == {-1000, 0}  # no tempo, no bar
    assert (off[:, 0, :, :bar] >= 0).all()  # nothing was a bar before
    assert (off == off[:, :, :1]).all()  # all codebooks of a frame together
    assert 0.1 < (off[:, 0] == 1000).float().mean() < 0.3
    assert 0.03 < silent.float().mean() < 0.15
    assert not (silent.any(-1) & (off.abs() == 1000).any(-1)).any()  # one or the other


def test_the_loss_of_onsets_is_librosas_envelope() -> None:
    song = Synthesiser(snap=True).song(5, 4.0, style="rock", drums=True)
    first, second = (torch.from_numpy(song.audio - less * song.stems["drums"])[None] for less in (0.0, 0.9))
    ours, theirs = (rises.mean(1)[0] for rises in map(sound_losses._rises, (first, second)))
    mine = float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1])
    assert mine == pytest.approx(measure.onset_correlation(first[0].numpy(), second[0].numpy()), abs=0.02)
    assert sound_losses.onsets(first, first) < 1e-3
    assert sound_losses.onsets(second, first) > 0.1


def test_the_tokenizer_reads_what_people_type(reader: Path) -> None:
    _, tokenizer = text.load(reader)
    pieces = tokenizer.encode("Lofi piano with SOFT drums, 93bpm, F# minor").tokens
    assert pieces[0] == "\u2581Lofi"
    assert {"\u258193", "bpm", "\u2581F#", "\u2581minor"} <= set(pieces)
    assert "<unk>" not in pieces


def test_words_that_were_never_learned_mean_what_like_words_mean(reader: Path) -> None:
    encoder, tokenizer = text.load(reader)
    text.share_embeddings(encoder, tokenizer)
    table = encoder.shared.weight
    for one, other in (("93", "95"), ("Lofi", "lofi"), ("sad", "calm"), ("61", "60")):
        rows = [table[tokenizer.token_to_id("\u2581" + word)] for word in (one, other)]
        assert torch.equal(*rows)


def test_held_back_seeds_are_apart_from_those_trained_on() -> None:
    assert seeds.CODEC < seeds.LANGUAGE_MODEL < seeds.HELD_BACK
