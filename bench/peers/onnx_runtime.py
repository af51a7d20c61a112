"""MusicGen's decoder in ONNX Runtime, with its own attention, which keeps keys and values in place."""

import logging
from pathlib import Path
from typing import Any

from bench.peers.exported import ConvertedNetwork, DecoderModule, text_keys_values
from musicgen_service.engine.interface import ConditionTensors

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from torch.export import Dim

WEIGHTS = {"float32": 32, "int8": 8, "int4": 4}
"""Bits of a weight."""
_GROUP = 64
"""Inputs that share a scale in 8 and 4 bits."""
_AS_INT8 = 4
"""The accuracy level at which products round their inputs to 8 bits, the fastest."""
_EXAMPLE_COLUMNS, _EXAMPLE_TEXT = 3, 7

# The quantizer, when imported, has every library's information logged.
logging.getLogger().setLevel(logging.WARNING)


def export(lm: Any, file: Path, room: int) -> None:
    """Convert a language model of audiocraft's, and write it.

    Parameters
    ----------
    lm : audiocraft's `LMModel` in float32, on the CPU
    file : ends in `.onnx`; the weights go beside it
    room : positions for which keys and values have room
    """
    module = DecoderModule(lm, _attend).eval()
    heads, width, caches = module.heads, module.dim // module.heads, 2 * len(module.layers)
    example = (
        torch.zeros(2, _EXAMPLE_COLUMNS, module.dim),
        torch.zeros(caches, heads, _EXAMPLE_TEXT, width),
        *(torch.zeros(2, heads, room, width) for _ in range(caches)),
        torch.full((2,), _EXAMPLE_COLUMNS - 1, dtype=torch.int32),
        torch.tensor(_EXAMPLE_COLUMNS, dtype=torch.int32),
    )
    axes = ({1: Dim.DYNAMIC}, {2: Dim.DYNAMIC}, (None,) * (caches + 2))
    names = [f"{index}" for index in range(caches)]
    with torch.no_grad():
        torch.onnx.export(
            module,
            example,
            file,
            dynamo=True,
            verbose=False,
            input_names=["x", "text", *(f"past.{name}" for name in names), "last", "total"],
            output_names=["logits", *(f"present.{name}" for name in names)],
            dynamic_shapes={"x": axes[0], "text": axes[1], "others": axes[2]},
            external_data=True,
        )


def _attend(
    projected: torch.Tensor,
    heads: int,
    past_keys: torch.Tensor,
    past_values: torch.Tensor,
    last: torch.Tensor,
    total: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Attend to all columns so far with ONNX Runtime's own operation.

    Parameters
    ----------
    last : int32 [2], number of positions so far, but for one, of each row
    total : int32, number of positions so far
    """
    inputs = [projected, None, None, past_keys, past_values, last, total]
    shape = [*projected.shape[:2], projected.shape[2] // 3]
    read, keys, values = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        inputs,
        {"num_heads": heads, "kv_num_heads": heads},
        dtypes=[torch.float32] * 3,
        shapes=[shape, past_keys.shape, past_values.shape],
        version=1,
    )
    return read, keys, values


class OnnxRuntimeNetwork(ConvertedNetwork):
    """A `Network`: what `export` wrote, quantised and loaded for this CPU.

    Parameters
    ----------
    lm, condition : see `ConvertedNetwork`
    file : see `export`
    weights : one of `WEIGHTS`
    threads : of a step
    """

    def __init__(self, lm: Any, condition: ConditionTensors, file: Path, weights: str, threads: int) -> None:
        super().__init__(lm, condition)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            _quantised(file, WEIGHTS[weights]), options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        self._keep_in_place()
        self._bind("text", text_keys_values(lm, condition).numpy())

    def _keep_in_place(self) -> None:
        """Let every cache be input and output at once, so that a step writes its own columns alone."""
        shapes = {entry.name: entry.shape for entry in self._session.get_inputs() if entry.name.startswith("past.")}
        for name, shape in shapes.items():
            cache = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
            self._binding.bind_ortvalue_input(name, cache)
            self._binding.bind_ortvalue_output(name.replace("past", "present"), cache)

    def _bind(self, name: str, value: Any) -> None:
        self._binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))

    def _forget(self) -> None:
        """Nothing to do: what lies beyond the given number of positions is not read."""

    def _run(self, x: torch.Tensor, taken: int) -> torch.Tensor:
        total = taken + x.shape[1]
        self._bind("x", x.numpy())
        self._bind("last", np.full(2, total - 1, np.int32))
        self._bind("total", np.array(total, np.int32))
        self._binding.bind_output("logits")
        self._session.run_with_iobinding(self._binding)
        return torch.from_numpy(self._binding.get_outputs()[-1].numpy())


def _quantised(file: Path, bits: int) -> str:
    """Write a network with weights of so many bits, and return its path."""
    if bits == WEIGHTS["float32"]:
        return str(file)
    quantised = file.with_stem(f"{file.stem}-{bits}")
    if not quantised.exists():
        quantizer = MatMulNBitsQuantizer(
            onnx.load(file), bits=bits, block_size=_GROUP, is_symmetric=True, accuracy_level=_AS_INT8
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(quantised), use_external_data_format=True)
    return str(quantised)
