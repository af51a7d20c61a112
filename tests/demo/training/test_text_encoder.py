"""The tokenizer, and the embeddings of words that are never trained."""

from pathlib import Path

import torch

from demo.training import text_encoder


def test_prompts_are_split_into_known_words(t5: Path) -> None:
    _, tokenizer = text_encoder.load(t5)
    pieces = tokenizer.encode("Lofi piano with SOFT drums, 93bpm, F# minor").tokens
    assert pieces[0] == "\u2581Lofi"
    assert {"\u258193", "bpm", "\u2581F#", "\u2581minor"} <= set(pieces)
    assert "<unk>" not in pieces


def test_untrained_words_share_the_nearest_embedding(t5: Path) -> None:
    encoder, tokenizer = text_encoder.load(t5)
    text_encoder.share_embeddings(encoder, tokenizer)
    table = encoder.shared.weight
    for one, other in (("93", "95"), ("Lofi", "lofi"), ("sad", "calm"), ("61", "60")):
        rows = [table[tokenizer.token_to_id("\u2581" + word)] for word in (one, other)]
        assert torch.equal(*rows)
