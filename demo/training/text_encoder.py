"""The text side of the demo checkpoint: a word-level tokenizer and a tiny T5, in the formats audiocraft reads."""

import musicgen_service.models.audiocraft_imports  # noqa: F401  # isort: skip  (must come before transformers)
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from demo.synth.captions import DRUM_WORDS, INSTRUMENT_WORDS, NO_DRUMS_WORDS, ONLY_DRUMS_WORDS
from demo.synth.styles import NOTE_NAMES, STYLES

WIDTH = 128
TEMPI = tuple(range(60, 181, 5))  # the tempi the language model learns; others take the nearest one's embedding
NUMBERS = tuple(range(40, 241))
SOUGHT = (tuple(name.lower() for name in NOTE_NAMES), ("major", "minor"), ("no", "without", "drumless"))
"""Groups of words that say most about the notes and the drums: the language model starts out looking for them."""
_SPACE = "\u2581"
# Words that captions do not use, and the caption's word that comes nearest; "," says nothing.
_LIKE = {
    "lo-fi": "lofi", "chillhop": "lofi", "hip-hop": "hop", "rap": "hop", "trap": "hop", "edm": "house",
    "disco": "house", "funk": "house", "electro": "techno", "trance": "techno", "electronic": "techno",
    "metal": "rock", "punk": "rock", "indie": "pop", "country": "pop", "folk": "guitar", "acoustic": "guitar",
    "blues": "jazz", "soul": "jazz", "classical": "strings", "orchestral": "strings", "cinematic": "strings",
    "violin": "strings", "cello": "strings", "epic": "driving", "aggressive": "hard", "sad": "calm",
    "sombre": "calm", "gentle": "calm", "quiet": "calm", "relaxing": "relaxed", "fun": "happy",
    "cheerful": "happy", "danceable": "dance", "percussion": "drums", "drumbeat": "drums", "keyboard": "keys",
    "vibraphone": "mallets", "xylophone": "mallets", "chimes": "bells", "trumpet": "synth",
    "saxophone": "flute", "quick": "fast", "calmer": "calm", "tempo": "bpm",
}  # fmt: skip
_SILENT = """an and the in at of for to very time rhythm groove music song track tune clip melody chords bass drum
instrumental some sharp flat loud quietly 4/4 like nice good beautiful"""


def _caption_words() -> list[str]:
    """Every word that captions use."""
    phrases = ["bpm major minor slow upbeat fast mid-tempo waltz 3/4", *STYLES, *NO_DRUMS_WORDS, *ONLY_DRUMS_WORDS]
    for options in (*INSTRUMENT_WORDS.values(), *DRUM_WORDS.values(), *(style.words for style in STYLES.values())):
        phrases += options
    return list(dict.fromkeys(" ".join([*phrases, *(name.lower() for name in NOTE_NAMES)]).split()))


def _forms(word: str) -> dict[str, None]:
    """A word as people capitalise it, itself first."""
    return dict.fromkeys((word, word.capitalize(), word.upper()))


def nearest_tempo(bpm: float) -> int:
    """The learned tempo nearest to `bpm` by ratio."""
    return min(TEMPI, key=lambda tempo: abs(torch.tensor(bpm / tempo).log().item()))


def write_tokenizer(folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json. Words are case-sensitive in T5, so both cases are listed."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (_SPACE, -6.0), (",", -2.0), (".", -2.0)]
    vocabulary += [(_SPACE + str(number), -3.0) for number in NUMBERS]
    words = dict.fromkeys([*_caption_words(), *_LIKE, *_SILENT.split()])
    vocabulary += [(_SPACE + form, -3.0) for word in words for form in _forms(word)]
    vocabulary += [(form, -3.0) for form in _forms("bpm")]  # as in "90bpm"
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
    a tempo; words of SOUGHT have marks in the dimensions after. `demo.training.rhythm_init` reads all of these.
    """
    torch.manual_seed(seed)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    size = -(-tokenizer.get_vocab_size() // 16) * 16
    encoder: Any = T5EncoderModel(
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
        mark_words(table, tokenizer)
        for number in NUMBERS:
            row = torch.zeros(WIDTH)
            row[TEMPI.index(nearest_tempo(number))] = 4.0
            row[len(TEMPI)] = 4.0
            table[tokenizer.token_to_id(_SPACE + str(number))] = row
        for block in encoder.encoder.block:
            block.layer[0].SelfAttention.o.weight.mul_(0.3)
            block.layer[1].DenseReluDense.wo.weight.mul_(0.3)
    encoder.save_pretrained(folder)


def mark_words(table: Tensor, tokenizer: Tokenizer) -> None:
    """Gives the words of SOUGHT their marks, the end of a prompt half of each, and other words none."""
    for dimension, words in enumerate(SOUGHT, len(TEMPI) + 1):
        table[:, dimension] = 0
        table[tokenizer.token_to_id("</s>"), dimension] = 2.0
        table[[tokenizer.token_to_id(_SPACE + word) for word in words], dimension] = 4.0


def share_embeddings(encoder: T5EncoderModel, tokenizer: Tokenizer) -> None:
    """Gives what training did not meet the embedding of what it did: other tempi, capitals, synonyms."""
    same = {_SPACE + str(number): _SPACE + str(nearest_tempo(number)) for number in NUMBERS}
    same |= dict.fromkeys(_forms("bpm"), _SPACE + "bpm")
    for word in _caption_words():
        same |= {_SPACE + form: _SPACE + word for form in _forms(word)}
    for word in [*_LIKE, *_SILENT.split()]:
        if word not in _caption_words():
            like = _SPACE + _LIKE[word] if word in _LIKE else ","
            same |= {_SPACE + form: like for form in _forms(word)}
    with torch.no_grad():
        table = encoder.shared.weight
        learned = table.clone()
        for token, like in same.items():
            table[tokenizer.token_to_id(token)] = learned[tokenizer.token_to_id(like)]


def load(folder: Path) -> tuple[T5EncoderModel, Tokenizer]:
    """The encoder and the tokenizer of a folder."""
    return T5EncoderModel.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
