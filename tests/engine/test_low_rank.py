"""Low-rank products on a decoder's weights: what each changes, and what stays shared."""

import pytest
import torch
from torch.nn import functional

from musicgen_service.engine import low_rank, weights
from musicgen_service.engine.linear import FusedLinear
from musicgen_service.engine.low_rank import LowRank
from musicgen_service.engine.precision import Numerics, Precision
from musicgen_service.engine.weights import DecoderShape, Weights

SHAPE = DecoderShape(dim=64, heads=4, layers=2, feedforward=256, codebooks=4, card=96, has_cross_attention=True)
EXACT = Numerics(Precision.EXACT, torch.device("cpu"))
NORMS = ("norm1", "norm_cross", "norm2")


def state() -> dict[str, torch.Tensor]:
    """A state dict with audiocraft's names, of values that float16 holds."""
    dim, forward = SHAPE.dim, SHAPE.feedforward
    shapes: dict[str, tuple[int, ...]] = {"out_norm.weight": (dim,), "out_norm.bias": (dim,)}
    for codebook in range(SHAPE.codebooks):
        shapes[f"emb.{codebook}.weight"] = (SHAPE.card + 1, dim)
        shapes[f"linears.{codebook}.weight"] = (SHAPE.card, dim)
    for index in range(SHAPE.layers):
        layer = f"transformer.layers.{index}."
        shapes |= {f"{layer}{norm}.{what}": (dim,) for norm in NORMS for what in ("weight", "bias")}
        for attention in ("self_attn", "cross_attention"):
            shapes[f"{layer}{attention}.in_proj_weight"] = (3 * dim, dim)
            shapes[f"{layer}{attention}.out_proj.weight"] = (dim, dim)
        shapes[f"{layer}linear1.weight"], shapes[f"{layer}linear2.weight"] = (forward, dim), (dim, forward)
    noise = torch.Generator().manual_seed(1)
    return {name: torch.randn(*shape, generator=noise).half() for name, shape in shapes.items()}


def packed(stored: dict[str, torch.Tensor]) -> Weights:
    def take(name: str, *shape: int) -> torch.Tensor:
        assert stored[name].shape == shape
        return stored[name]

    return weights.build(SHAPE, take, EXACT.pack_weight, EXACT.pack_unquantised, EXACT.dtype)


def outputs(built: Weights) -> dict[str, torch.Tensor]:
    """What every matrix makes of rows, and the embedding."""
    rows = torch.randn(3, SHAPE.feedforward, generator=torch.Generator().manual_seed(2))
    linears = {"heads": built.heads}
    for index, layer in enumerate(built.layers):
        assert layer.cross is not None
        own = {"in": layer.query_keys_values, "out": layer.out, "up": layer.up, "down": layer.down}
        cross = {"query": layer.cross.query, "keys, values": layer.cross.keys_values, "cross out": layer.cross.out}
        linears |= {f"{index} {name}": linear for name, linear in (own | cross).items()}
    of_rows = {name: linear(rows if "down" in name else rows[:, : SHAPE.dim]) for name, linear in linears.items()}
    return of_rows | {"embedding": built.embedding}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("transformer.layers.1.self_attn.in_proj_weight", {"1 in"}),
        ("transformer.layers.0.self_attn.out_proj.weight", {"0 out"}),
        ("transformer.layers.1.cross_attention.in_proj_weight", {"1 query", "1 keys, values"}),
        ("transformer.layers.1.cross_attention.out_proj.weight", {"1 cross out"}),
        ("transformer.layers.0.linear1.weight", {"0 up"}),
        ("transformer.layers.0.linear2.weight", {"0 down"}),
        ("linears.2.weight", {"heads"}),
        ("emb.3.weight", {"embedding"}),
    ],
)
def test_a_product_does_what_the_sum_of_the_weights_does(name: str, changed: set[str]) -> None:
    stored = state()
    noise = torch.Generator().manual_seed(3)
    down = torch.randn(4, stored[name].shape[1], generator=noise)
    product = LowRank(down, torch.randn(stored[name].shape[0], 4, generator=noise))
    base = packed(stored)
    before = outputs(base)
    after = outputs(low_rank.adapted(base, {name: product}.get, EXACT.add_product))
    expected = outputs(packed(stored | {name: product.added_to(stored[name])}))
    assert {one for one in before if not torch.equal(before[one], after[one])} == changed
    for one, tensor in after.items():
        torch.testing.assert_close(tensor, expected[one], atol=1e-3, rtol=1e-4)
    assert all(torch.equal(tensor, before[one]) for one, tensor in outputs(base).items())


def test_an_unpacked_weight_keeps_its_form_and_dtype() -> None:
    noise = torch.Generator().manual_seed(4)
    weight, down, up = (torch.randn(*shape, generator=noise) for shape in ((32, 16), (2, 16), (32, 2)))
    half = Numerics(Precision.HALF, torch.device("cpu"))
    adapted = half.add_product(FusedLinear(weight.half()), down, up)
    rows = torch.randn(5, 16, generator=noise).half()
    assert isinstance(adapted, FusedLinear)
    assert torch.equal(adapted(rows), functional.linear(rows, (weight.half().float() + up @ down).half()))


def test_what_is_not_changed_is_shared_with_the_base() -> None:
    stored = state()
    name = "transformer.layers.0.cross_attention.in_proj_weight"
    up = torch.zeros(3 * SHAPE.dim, 2)
    up[: SHAPE.dim] = 1.0  # queries alone
    base = packed(stored)
    adapted = low_rank.adapted(base, {name: LowRank(torch.ones(2, SHAPE.dim), up)}.get, EXACT.add_product)
    ours, theirs = adapted.layers[0].cross, base.layers[0].cross
    assert ours is not None and theirs is not None
    assert ours.query is not theirs.query
    assert ours.keys_values is theirs.keys_values and ours.out is theirs.out
    assert adapted.layers[1].query_keys_values is base.layers[1].query_keys_values
    assert adapted.heads is base.heads and adapted.embedding is base.embedding
