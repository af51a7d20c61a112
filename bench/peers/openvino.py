"""MusicGen's decoder in OpenVINO: stateful, as its own tools export language models."""

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

from bench.peers.exported import ConvertedNetwork, DecoderModule, join, split, text_keys_values
from musicgen_service.engine.interface import ConditionTensors

import nncf
import numpy as np
import openvino
import torch
from openvino import opset13
from openvino._offline_transformations import apply_make_stateful_transformation
from torch.nn import functional

_GROUP = 64
"""Inputs that share a scale in 4 bits."""
_EXAMPLE_COLUMNS, _EXAMPLE_PAST, _EXAMPLE_TEXT = 3, 5, 7

nncf.set_log_level(logging.ERROR)


def export(lm: Any, file: Path) -> None:
    """Convert a language model of audiocraft's, and write it with weights in float16.

    Parameters
    ----------
    lm : audiocraft's `LMModel` in float32, on the CPU
    file : ends in `.xml`; the weights go beside it
    """
    module = DecoderModule(lm, _attend).eval()
    heads, width, caches = module.heads, module.dim // module.heads, 2 * len(module.layers)
    past = torch.zeros(2, heads, _EXAMPLE_PAST, width)
    example = (
        torch.zeros(2, _EXAMPLE_COLUMNS, module.dim),
        torch.zeros(caches, heads, _EXAMPLE_TEXT, width),
        *[past] * caches,
        torch.zeros(1, 1, _EXAMPLE_COLUMNS, _EXAMPLE_PAST + _EXAMPLE_COLUMNS),
        torch.arange(2, dtype=torch.int32),
    )
    shapes = [[2, -1, module.dim], [caches, heads, -1, width], *[[2, heads, -1, width]] * caches, [1, 1, -1, -1], [2]]
    with torch.no_grad():
        model = openvino.convert_model(module, example_input=example, input=[openvino.PartialShape(s) for s in shapes])
    past_names, present_names = ([f"{kind}.{index}" for index in range(caches)] for kind in ("past", "present"))
    _name(model.inputs, ["x", "text", *past_names, "mask", "rows"])
    _name(model.outputs, ["logits", *present_names])
    apply_make_stateful_transformation(model, dict(zip(past_names, present_names, strict=True)))
    for operation in model.get_ops():
        if operation.get_type_name() == "ReadValue":
            operation.set_arguments([opset13.constant(np.zeros((2, heads, 0, width), np.float32))])
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, file, compress_to_fp16=True)


class OpenVinoNetwork(ConvertedNetwork):
    """A `Network`: what `export` wrote, compiled for this CPU.

    Parameters
    ----------
    lm, condition : see `ConvertedNetwork`
    file : see `export`
    precision : float32 or bf16, of the arithmetic, with weights stored as float16; or int8 or int4, of the weights,
        with arithmetic in float32, as bfloat16 is less exact. Keys and values have 8 bits in all but the first
    threads : of a step
    """

    def __init__(self, lm: Any, condition: ConditionTensors, file: Path, precision: str, threads: int) -> None:
        super().__init__(lm, condition)
        core = openvino.Core()
        model = _compressed(core.read_model(file), precision)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "KV_CACHE_PRECISION": "f32" if precision == "float32" else "u8",
        }
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        text = text_keys_values(lm, condition).numpy()
        self._inputs = {"text": text, "rows": np.arange(2, dtype=np.int32)}

    def _forget(self) -> None:
        self._request.reset_state()

    def _run(self, x: torch.Tensor, taken: int) -> torch.Tensor:
        mask = torch.full((1, 1, x.shape[1], taken + x.shape[1]), -torch.inf).triu(taken + 1)
        inputs = self._inputs | {"x": x.numpy(), "mask": mask.numpy()}
        return torch.from_numpy(self._request.infer(inputs, share_inputs=True, share_outputs=True)["logits"])


def _attend(
    projected: torch.Tensor,
    heads: int,
    past_keys: torch.Tensor,
    past_values: torch.Tensor,
    mask: torch.Tensor,
    rows: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Attend to all columns so far.

    OpenVINO recognises this form, in which rows may change places between steps, as they do in beam search, and makes
    one operation of it that keeps keys and values where they are.
    """
    queries, keys, values = split(projected, 3, heads).unbind()
    keys = torch.cat([past_keys.index_select(0, rows), keys], dim=2)
    values = torch.cat([past_values.index_select(0, rows), values], dim=2)
    return join(functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)), keys, values


def _name(ports: list[Any], names: list[str]) -> None:
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})


def _compressed(model: Any, precision: str) -> Any:
    modes = {"int8": nncf.CompressWeightsMode.INT8_ASYM, "int4": nncf.CompressWeightsMode.INT4_SYM}
    if precision not in modes:
        return model
    # All layers in 4 bits, but for the last one, which nncf keeps in 8.
    options = {"group_size": _GROUP, "ratio": 1.0} if precision == "int4" else {}
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        return nncf.compress_weights(model, mode=modes[precision], **options)
