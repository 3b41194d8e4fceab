"""The decoding of the exported graph: ``training.detector.cells.decode`` as ONNX operators.

Written by hand: torch's exporter makes 150 small nodes of it, which take 2.5 % of onnxruntime's time.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.compose
import onnx.parser

from training.detector.cells import LARGEST
from training.detector.network import STRIDES, VALUES

# the grids count up to each cell's far corner; a stride is the sum's step
LEVEL = """
    shape{s} = Shape <start = 2> (map{s})
    step{s} = ConstantOfShape <value = float[1] {{{s}}}> (shape{s})
    across{s} = CumSum (step{s}, one)
    down{s} = CumSum (step{s}, zero)
    both{s} = Concat <axis = 0> (across{s}, down{s})
    corner{s} = Reshape (both{s}, two_rows)
    steps{s} = Reshape (step{s}, one_row)
    values{s} = Reshape (map{s}, flat)
"""
DECODING = """
    <ir_version: 10, opset_import: ["": 18]>
    decoding (%(inputs)s) => (float[batch, cells, 4] boxes, float[batch, cells] scores,
                              float[batch, cells, 5, 2] landmarks)
    <int64 zero = {0}, int64 one = {1}, int64[1] first = {1}, int64[1] one_row = {-1}, int64[2] two_rows = {2, -1},
     int64[3] flat = {0, %(count)s, -1}, int64[4] points = {0, 5, 2, -1}, int64[4] parts = {1, 2, 2, 10},
     float half = {0.5}, float largest = {%(largest)s}>
    {
    %(levels)s
    values = Concat <axis = 2> (%(values)s)
    corner = Concat <axis = 1> (%(corners)s)
    step = Concat <axis = 0> (%(steps)s)
    logit, offset, size, marks = Split <axis = 1> (values, parts)
    logits = Squeeze (logit, first)
    scores = Sigmoid (logits)
    half_step = Mul (step, half)
    middle = Sub (corner, half_step)
    moved = Mul (offset, step)
    centre = Add (middle, moved)
    bounded = Min (size, largest)
    ratio = Exp (bounded)
    side = Mul (ratio, step)
    half_side = Mul (side, half)
    low = Sub (centre, half_side)
    high = Add (centre, half_side)
    corners = Concat <axis = 1> (low, high)
    boxes = Transpose <perm = [0, 2, 1]> (corners)
    relative = Reshape (marks, points)
    sides = Unsqueeze (side, first)
    centres = Unsqueeze (centre, first)
    away = Mul (relative, sides)
    placed = Add (centres, away)
    landmarks = Transpose <perm = [0, 3, 1, 2]> (placed)
    }
"""


def decoding() -> onnx.ModelProto:
    """From ``map8``, ``map16``, ``map32``, ``[n, 15, h / s, w / s]`` each, to the outputs of the manifest's contract.

    Returns:
        A model with outputs boxes ``[n, N, 4]``, scores ``[n, N]`` (0..1) and landmarks ``[n, N, 5, 2]``, pixels, in
        the order of ``cell_centres``.
    """

    def of_levels(what: str) -> str:
        return ", ".join(what.format(s=stride) for stride in STRIDES)

    return onnx.parser.parse_model(DECODING % {
        "inputs": of_levels(f"float[batch, {VALUES}, rows{{s}}, columns{{s}}] map{{s}}"),
        "levels": "".join(LEVEL.format(s=stride) for stride in STRIDES),
        "values": of_levels("values{s}"), "corners": of_levels("corner{s}"), "steps": of_levels("steps{s}"),
        "count": VALUES, "largest": LARGEST,
    })  # fmt: skip


def with_decoding(network: onnx.ModelProto, maps: Sequence[str]) -> onnx.ModelProto:
    """A graph, opset 18, with the decoding appended.

    Args:
        network: the graph.
        maps: its outputs of strides 8, 16 and 32.
    """
    appended = decoding()
    appended.ir_version = network.ir_version
    return onnx.compose.merge_models(
        network, appended, io_map=[(name, f"map{stride}") for name, stride in zip(maps, STRIDES, strict=True)]
    )
