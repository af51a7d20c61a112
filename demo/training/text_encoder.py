"""The text encoder of the demo checkpoint: a word-level tokenizer and a tiny T5, in the formats audiocraft reads."""

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
from demo.training.songs import TEMPI

WIDTH = 128
NUMBERS = tuple(range(40, 241))  # words that denote a tempo
KEYWORDS = (tuple(name.lower() for name in NOTE_NAMES), ("major", "minor"), ("no", "without", "drumless"))
"""Groups of words that matter most for the notes and the drums: in `rhythm_init` a head attends to each of them."""
NUMBER_MARK = len(TEMPI)
"""The dimension of embeddings that marks a number. Those before it are one-hot over TEMPI; those after it mark
KEYWORDS."""
MARK = 4.0
"""Value of one-hots and marks: far above the other embeddings, whose standard deviation is 0.5, so that attention can
select a marked word."""
END_MARK = 2.0  # keyword mark of the end of a prompt: attended to where a prompt has no such word
RESIDUAL_SCALE = 0.3  # of the blocks' output weights, so that the marks pass through T5 nearly unchanged at first
_SPACE = "\u2581"
# Words that captions do not contain, and the nearest word that they contain.
_SYNONYMS = {
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
# Words without musical meaning: they share the embedding of ",".
_NEUTRAL_WORDS = """an and the in at of for to very time rhythm groove music song track tune clip melody chords bass
drum instrumental some sharp flat loud quietly 4/4 like nice good beautiful"""


def _caption_words() -> list[str]:
    """Every word in captions, each once."""
    phrases = ["bpm major minor slow upbeat fast mid-tempo waltz 3/4", *STYLES, *NO_DRUMS_WORDS, *ONLY_DRUMS_WORDS]
    for options in (*INSTRUMENT_WORDS.values(), *DRUM_WORDS.values(), *(style.words for style in STYLES.values())):
        phrases += options
    return list(dict.fromkeys(" ".join([*phrases, *(name.lower() for name in NOTE_NAMES)]).split()))


def _forms(word: str) -> dict[str, None]:
    """Common capitalisations of a word, the word itself first."""
    return dict.fromkeys((word, word.capitalize(), word.upper()))


def nearest_tempo(bpm: float) -> int:
    """The learned tempo nearest to `bpm` by ratio."""
    return min(TEMPI, key=lambda tempo: abs(torch.tensor(bpm / tempo).log().item()))


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json. T5 is case-sensitive, so words are listed in every case."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (_SPACE, -6.0), (",", -2.0), (".", -2.0)]
    vocabulary += [(_SPACE + str(number), -3.0) for number in NUMBERS]
    words = dict.fromkeys([*_caption_words(), *_SYNONYMS, *_NEUTRAL_WORDS.split()])
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
    """Write a new T5 beside its tokenizer, with embeddings that mark tempi and KEYWORDS.

    Each of TEMPI has its own dimension, which all numbers nearest to it share, so the word
    identifies the tempo before any training. `rhythm_init` relies on that.
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
        table[:, : NUMBER_MARK + 1] = 0
        _mark_keywords(table, tokenizer)
        for number in NUMBERS:
            row = torch.zeros(WIDTH)
            row[[TEMPI.index(nearest_tempo(number)), NUMBER_MARK]] = MARK
            table[tokenizer.token_to_id(_SPACE + str(number))] = row
        for block in encoder.encoder.block:
            block.layer[0].SelfAttention.o.weight.mul_(RESIDUAL_SCALE)
            block.layer[1].DenseReluDense.wo.weight.mul_(RESIDUAL_SCALE)
    encoder.save_pretrained(folder)


def _mark_keywords(table: Tensor, tokenizer: Tokenizer) -> None:
    """Mark the words of KEYWORDS, each group in its own dimension, and the end of a prompt half as much."""
    for dimension, words in enumerate(KEYWORDS, NUMBER_MARK + 1):
        table[:, dimension] = 0
        table[tokenizer.token_to_id("</s>"), dimension] = END_MARK
        table[[tokenizer.token_to_id(_SPACE + word) for word in words], dimension] = MARK


def share_embeddings(encoder: T5EncoderModel, tokenizer: Tokenizer) -> None:
    """Copy the embedding of the nearest trained word to untrained words: tempi, capitalisations, synonyms."""
    same = {_SPACE + str(number): _SPACE + str(nearest_tempo(number)) for number in NUMBERS}
    same |= dict.fromkeys(_forms("bpm"), _SPACE + "bpm")
    for word in _caption_words():
        same |= {_SPACE + form: _SPACE + word for form in _forms(word)}
    for word in [*_SYNONYMS, *_NEUTRAL_WORDS.split()]:
        if word not in _caption_words():
            like = _SPACE + _SYNONYMS[word] if word in _SYNONYMS else ","
            same |= {_SPACE + form: like for form in _forms(word)}
    with torch.no_grad():
        table = encoder.shared.weight
        learned = table.clone()
        for token, like in same.items():
            table[tokenizer.token_to_id(token)] = learned[tokenizer.token_to_id(like)]


def load(folder: Path) -> tuple[T5EncoderModel, Tokenizer]:
    """Load the encoder and the tokenizer of a folder."""
    return T5EncoderModel.from_pretrained(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
