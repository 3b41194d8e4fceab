"""Quantises a float32 ONNX student to int8: static, weights by channel, activations by tensor.

Activations are unsigned and weights signed, the pair that CPUs multiply fastest (VNNI). Weights keep 7 of their 8 bits:
on CPUs without VNNI, two products of full range overflow the 16-bit sum and silently change the embedding. The channels
inside the network are given equal ranges first (`training.embedder.equalize`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.common.files import replacing
from training.embedder.equalize import equalize

BATCH = 64
OPS = ["Conv", "Gemm", "MatMul", "LeakyRelu", "Add", "Flatten", "Reshape", "SpaceToDepth", "Concat"]


class _Views(CalibrationDataReader):
    def __init__(self, name: str, tensors: npt.NDArray[np.float32]) -> None:
        size = min(BATCH, len(tensors))  # onnxruntime's calibration wants batches of one size
        self._feeds = iter([{name: tensors[i : i + size]} for i in range(0, len(tensors) - size + 1, size)])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self._feeds, None)


def quantize(source: Path, target: Path, tensors: npt.NDArray[np.float32]) -> Path:
    """Write ``source`` quantised to int8.

    Args:
        source: float32 ONNX.
        target: where to write.
        tensors: faces of the training split as the network reads them, float32 ``[n, 3, r, r]``: the ranges of
            activations are measured on them (without the outermost 0.001 % of values).

    Returns:
        ``target``.
    """
    with tempfile.TemporaryDirectory() as scratch, replacing(target) as part:
        prepared = Path(scratch) / source.name
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        equalize(prepared, prepared, tensors[:BATCH])
        model = onnx.load(str(prepared))
        quantize_static(
            str(prepared), str(part), _Views(model.graph.input[0].name, tensors), quant_format=QuantFormat.QDQ,
            per_channel=True, reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile, op_types_to_quantize=OPS,
            # The embedding itself stays in float.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )  # fmt: skip
    return target
