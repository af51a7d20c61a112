"""Operations of a step on a GPU that are one kernel each (`kernels`), as operators of torch.

As operators they can be traced with tensors that have a shape and no data, on a machine without a GPU. Triton is
imported when the first of them is launched.
"""

import functools
import logging
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple, ParamSpec

import torch
from torch.nn import functional

_P = ParamSpec("_P")

MAX_ROWS = 2
"""Rows up to which a product is faster here than in cuBLAS: those of one slot."""
_MIN_CAPABILITY = (8, 0)
_EARLY_CAPABILITY = (9, 0)
"""Compute capability from which a kernel can start before its predecessor has ended."""
_PROGRAMS = 512
"""Programs of an attention that keep the memory of a large GPU busy."""
_MAX_SPLITS = 16
_KEY_BLOCK, _KEY_WARPS = 64, 2
"""Positions that a program of self-attention reads at a time, and its warps."""
_TEXT_BLOCK, _TEXT_WARPS = 16, 1
"""The same for texts, which are short."""
_OUTPUTS = 4
"""Outputs that a program of a product computes."""
_WEIGHTS_PER_THREAD, _MAX_WARPS = 128, 8
_PARTIAL = 2
"""Numbers that a part of an attention leaves beside its weighted sum of values."""


_library = torch.library.Library("musicgen", "DEF")  # type: ignore[no-untyped-call]


def _operator(*written: str) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Register a function, which writes to the arguments of these names and does nothing else, as an operator."""

    def register(function: Callable[_P, None]) -> Callable[_P, None]:
        name = function.__name__
        schema = name + torch.library.infer_schema(function, mutates_args=written)
        _library.define(schema)  # type: ignore[no-untyped-call]
        _library.impl(name, function, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"musicgen::{name}", lambda *_args: None, lib=_library)
        return getattr(torch.ops.musicgen, name).default

    return register


def _kernels() -> ModuleType:
    from musicgen_service.engine import kernels

    return kernels


@functools.cache
def _starts_early(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _EARLY_CAPABILITY


def _options(device: torch.device, warps: int) -> dict[str, int | bool]:
    """Return the options of a launch."""
    early = {"EARLY": True, "launch_pdl": True} if _starts_early(device) else {"EARLY": False}
    return {"num_warps": warps, **early}


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


@functools.cache
def available(device: torch.device) -> bool:
    """Whether the kernels can be compiled and run on a device; logs why not, once."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _MIN_CAPABILITY:
        return False
    rows, ones, zeros = torch.randn(2, 64, device=device), torch.ones(64, device=device), torch.zeros(64, device=device)
    try:
        normalised = torch.empty_like(rows)
        normalise(rows, ones, zeros, 1e-5, normalised)
        if not torch.allclose(normalised, functional.layer_norm(rows, (64,)), atol=1e-4):
            raise RuntimeError("a kernel gave wrong numbers")
    except Exception as error:
        # Triton raises all kinds of errors, of its compiler and of the C compiler that it calls.
        logging.getLogger("musicgen_service").warning("GPU steps use no kernels of their own: %s", error)
        return False
    return True


def supports(head_width: int) -> bool:
    """Whether attention has a kernel for heads of this many dimensions."""
    return 16 <= head_width == _power_of_two(head_width)


def _splits(rows: int, heads: int) -> int:
    """Return among how many programs the positions of a row and head are best divided: a power of two."""
    wanted = max(1, min(_MAX_SPLITS, _PROGRAMS // (rows * heads)))
    return 1 << (wanted.bit_length() - 1)


class Scratch(NamedTuple):
    """What the programs of an attention tell each other; see `attend`."""

    partial: torch.Tensor
    arrived: torch.Tensor

    @classmethod
    def create(cls, width: int, device: torch.device) -> "Scratch":
        """Allocate it for heads of `width` dimensions."""
        # As many programs as that share positions with others, and never more; see `_splits`.
        partial = torch.empty(_PROGRAMS * (width + _PARTIAL), device=device)
        return cls(partial, torch.zeros(_PROGRAMS, dtype=torch.int32, device=device))


@_operator("out")
def embed(
    tokens: torch.Tensor,
    column: torch.Tensor,
    position: torch.Tensor,
    tables: torch.Tensor,
    positions: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Embed each slot's current tokens and position.

    Parameters
    ----------
    tokens : int64 [slots, codebooks, columns]
    column, position : int64 [slots]
    tables : [codebooks, entries, dim]
    positions : embeddings of positions [positions, dim]
    out : [slots, rows, dim]
    """
    slots, rows, dim = out.shape
    codebooks, entries, _ = tables.shape
    block = min(1024, _power_of_two(dim))
    _kernels().embed[(slots, -(-dim // block))](
        tokens, tokens.stride(0), tokens.stride(1), column, position, tables, positions, out,
        DIM=dim, ENTRIES=entries, CODEBOOKS=codebooks, ROWS=rows, BLOCK=block, **_options(out.device, 4),
    )  # fmt: skip


@_operator("out")
def normalise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float, out: torch.Tensor) -> None:
    """Apply layer normalisation to rows [rows, dim]."""
    rows, dim = x.shape
    _kernels().normalise[(rows,)](
        x, x.stride(0), weight, bias, epsilon, out, DIM=dim, WIDTH=_power_of_two(dim), **_options(x.device, 4)
    )


@_operator("out")
def product(
    x: torch.Tensor,
    weight: torch.Tensor,
    norm_weight: torch.Tensor | None,
    norm_bias: torch.Tensor | None,
    epsilon: float,
    gelu: bool,
    add: bool,
    out: torch.Tensor,
) -> None:
    """Multiply at most `MAX_ROWS` rows [rows, inputs] with a weight [outputs, inputs].

    Parameters
    ----------
    norm_weight, norm_bias : of the normalisation that the rows pass first, or None
    gelu : activate the result
    add : add the result to `out` instead of storing it
    out : [rows, outputs]; its rows may be apart
    """
    outputs, inputs = weight.shape
    block, width = math.gcd(outputs, _OUTPUTS), _power_of_two(inputs)
    warps = max(1, min(_MAX_WARPS, block * width // (_WEIGHTS_PER_THREAD * 32)))
    _kernels().product[(outputs // block,)](
        x, x.stride(0), norm_weight, norm_bias, epsilon, weight, out, out.stride(0),
        INPUTS=inputs, WIDTH=width, ROWS=x.shape[0], BLOCK=block,
        NORM=norm_weight is not None, GELU=gelu, ADD=add, **_options(x.device, warps),
    )  # fmt: skip


@_operator("cache", "out", "partial", "arrived")
def attend(
    queries: torch.Tensor,
    cache: torch.Tensor,
    lengths: torch.Tensor,
    append: bool,
    out: torch.Tensor,
    partial: torch.Tensor,
    arrived: torch.Tensor,
) -> None:
    """Attention of one query per row, to exactly the positions that the row has.

    Parameters
    ----------
    queries : [rows, heads * width]; with `append`, keys and values of the same size follow in each row
    cache : keys and values of one layer [slots, rows per slot, 2, heads, capacity, width]
    lengths : int64 [slots] or [slots, rows per slot], positions in the cache
    append : store the rows' own keys and values after those positions, and attend to them
    out : [rows, heads * width]
    partial, arrived : of a `Scratch`
    """
    slots, rows_per_slot, _, heads, _, width = cache.shape
    rows = slots * rows_per_slot
    parts, block, warps = (_splits(rows, heads), _KEY_BLOCK, _KEY_WARPS) if append else (1, _TEXT_BLOCK, _TEXT_WARPS)
    _kernels().attend[(rows * heads, parts)](
        queries, queries.stride(0), cache, *cache.stride()[:4], lengths, out, partial, arrived, width**-0.5,
        ROWS=rows_per_slot, ROWS_PER_LENGTH=rows // lengths.numel(), HEADS=heads, WIDTH=width,
        BLOCK=block, SPLITS=parts, APPEND=append, **_options(out.device, warps),
    )  # fmt: skip


@_operator("tokens")
def draw(
    logits: torch.Tensor,
    noise: torch.Tensor,
    guidance: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    uses_top_p: bool,
    tokens: torch.Tensor,
    column: torch.Tensor,
    unknown: int,
) -> None:
    """Draw each slot's next tokens from guided logits, and store them where the next column has none.

    Parameters
    ----------
    logits : [slots, rows, codebooks, card], the conditional row first, the unconditional one last
    noise : float32 [slots, codebooks, card], see `sampling.draw`
    guidance, temperature, top_k, top_p : of `sampling.Controls`
    uses_top_p : whether any slot has a `top_p`
    tokens : int64 [slots, codebooks, columns]
    column : int64 [slots], the current ones
    unknown : stands where there is no token yet
    """
    slots, rows, codebooks, card = logits.shape
    _kernels().draw[(slots * codebooks,)](
        logits, noise, guidance, temperature, top_k, top_p, tokens, tokens.stride(0), tokens.stride(1), column, unknown,
        CARD=card, WIDTH=_power_of_two(card), CODEBOOKS=codebooks, ROWS=rows, TOP_P=uses_top_p,
        **_options(logits.device, 8),
    )  # fmt: skip
