"""The text side of the demo checkpoint: a word-level tokenizer and a tiny T5, in the formats audiocraft reads."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import T5Config, T5EncoderModel

import musicgen_service.models.audiocraft_imports  # noqa: F401  (must come before transformers)
from demo.synth.captions import DRUM_WORDS, INSTRUMENT_WORDS, NO_DRUMS_WORDS
from demo.synth.styles import NOTE_NAMES, STYLES

WIDTH = 128
TEMPI = tuple(range(60, 181, 5))  # the tempi the language model learns; others take the nearest one's embedding
NUMBERS = tuple(range(40, 241))
_SPACE = "\u2581"
_COMMON = """a an and the in at of with for to no not without very bpm tempo time beat beats rhythm groove music song
track tune loop clip melody chords bass drum drums percussion instrumental major minor key sharp flat slow fast
mid-tempo upbeat waltz 3/4 4/4 sad sombre gentle soft loud quiet aggressive epic cinematic electronic acoustic lo-fi
lofi hip-hop edm trap funk soul blues country folk classical orchestral guitar violin trumpet saxophone"""
_SYNONYMS = {
    "lo-fi": "lofi",
    "hip-hop": "hip",
    "sad": "minor",
    "happy": "bright",
    "edm": "house",
    "percussion": "drums",
}


def _words() -> list[str]:
    """Every word the captions use, and some more that people do."""
    phrases = [_COMMON, *STYLES, *NO_DRUMS_WORDS]
    for options in (*INSTRUMENT_WORDS.values(), *DRUM_WORDS.values(), *(style.words for style in STYLES.values())):
        phrases += options
    return list(dict.fromkeys(" ".join([*phrases, *(name.lower() for name in NOTE_NAMES)]).split()))


def nearest_tempo(bpm: float) -> int:
    """The learned tempo nearest to `bpm` by ratio."""
    return min(TEMPI, key=lambda tempo: abs(torch.tensor(bpm / tempo).log().item()))


def write_tokenizer(folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json. Words are case-sensitive in T5, so both cases are listed."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (_SPACE, -6.0), (",", -2.0), (".", -2.0)]
    vocabulary += [(_SPACE + str(number), -3.0) for number in NUMBERS]
    for word in _words():
        forms = dict.fromkeys((word, word.capitalize(), word.upper()))
        vocabulary += [(_SPACE + form, -3.0) for form in forms]
    vocabulary.append(("bpm", -3.0))
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#-'!?:;()/&"
    vocabulary += [(letter, -10.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": 0,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def write_encoder(folder: Path, seed: int = 0) -> None:
    """Writes the T5 beside its tokenizer: every tempo starts with a direction of its own, shared by its neighbours.

    A number's embedding is one-hot over TEMPI (dimensions 0 to 24) plus a mark (dimension 25) saying that it is
    a tempo; `demo.clockwork` reads both.
    """
    torch.manual_seed(seed)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = -(-tokenizer.get_vocab_size() // 16) * 16
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=size,
            d_model=WIDTH,
            d_kv=32,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="relu",
            dropout_rate=0.0,
        )
    )
    with torch.no_grad():
        table = encoder.shared.weight
        table.normal_(std=0.5)
        table[:, : len(TEMPI) + 1] = 0
        for number in NUMBERS:
            row = torch.zeros(WIDTH)
            row[TEMPI.index(nearest_tempo(number))] = 4.0
            row[len(TEMPI)] = 4.0
            table[tokenizer.token_to_id(_SPACE + str(number))] = row
        for block in encoder.encoder.block:
            block.layer[0].SelfAttention.o.weight.mul_(0.3)
            block.layer[1].DenseReluDense.wo.weight.mul_(0.3)
    encoder.save_pretrained(folder)


def share_tempo_rows(encoder: T5EncoderModel, tokenizer: Tokenizer) -> None:
    """Gives every number the embedding of the learned tempo nearest to it."""
    with torch.no_grad():
        table = encoder.shared.weight
        for number in NUMBERS:
            learned = tokenizer.token_to_id(_SPACE + str(nearest_tempo(number)))
            table[tokenizer.token_to_id(_SPACE + str(number))] = table[learned].clone()


def load(folder: Path) -> tuple[T5EncoderModel, Tokenizer]:
    """The encoder and the tokenizer of a folder."""
    return T5EncoderModel.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
