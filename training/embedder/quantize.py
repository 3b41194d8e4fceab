"""Quantises a float32 ONNX student to int8 (`training.common.int8`).

The channels inside the network are given equal ranges first (`training.embedder.equalize`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.common.files import replacing
from training.common.int8 import write_int8
from training.embedder.equalize import equalize

BATCH = 64
OPS = ["Conv", "Gemm", "MatMul", "LeakyRelu", "Add", "Flatten", "Reshape", "SpaceToDepth", "Concat"]


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
        write_int8(
            prepared, part, tensors, BATCH, calibrate_method=CalibrationMethod.Percentile, op_types_to_quantize=OPS,
            # The embedding itself stays in float.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )  # fmt: skip
    return target
