"""Static quantisation to int8 as every network here gets it: weights by channel, activations by tensor.

Activations are unsigned and weights signed, the pair that CPUs multiply fastest (VNNI). Weights keep 7 of their 8 bits:
on CPUs without VNNI, two products of full range overflow the 16-bit sum and silently change what the network gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

Tensors = npt.NDArray[np.float32]


class _Batches(CalibrationDataReader):
    def __init__(self, name: str, tensors: Tensors, size: int) -> None:
        size = min(size, len(tensors))  # onnxruntime's calibration wants batches of one size
        self._feeds = iter([{name: tensors[i : i + size]} for i in range(0, len(tensors) - size + 1, size)])

    def get_next(self) -> dict[str, Tensors] | None:
        return next(self._feeds, None)


def write_int8(model: Path, target: Path, tensors: Tensors, batch: int, **options: Any) -> None:
    """Write a graph quantised to int8.

    Args:
        model: float32 ONNX.
        target: where to write.
        tensors: inputs of the network, float32 ``[n, ...]``, on which the ranges of activations are measured.
        batch: how many of them the network sees at a time; those that fill no batch are left out.
        options: what differs between networks, as onnxruntime's ``quantize_static`` takes it: which nodes are
            quantised, how ranges follow from what is seen.
    """
    name = onnx.load(model).graph.input[0].name
    quantize_static(
        str(model), str(target), _Batches(name, tensors, batch), quant_format=QuantFormat.QDQ, per_channel=True,
        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, **options,
    )  # fmt: skip
