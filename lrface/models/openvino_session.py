"""Sessions of OpenVINO: on the device that was asked for, in a precision that is chosen and said."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from lrface.errors import ModelError, ProviderError
from lrface.models.onnxruntime_session import Session, Tensor, open_onnxruntime
from lrface.types import Array, FloatArray

DEVICES = {"openvino": "CPU", "openvino:gpu": "GPU", "openvino:npu": "NPU"}
LARGEST_ERROR = 0.04
"""bfloat16 is used where no output of a test input differs more from float32, in norms: a cosine of 0.9992."""
SIZES = (1, 4, 8)
"""Batches for which graphs of one picture size are compiled, others are filled up: on one thread int8 graphs take 1.3
to 1.5 times as long if they are compiled for any batch; larger batches save little (`benchmarks/devices.py`)."""
SHAPES = 8
"""Compiled graphs that are kept, where the graph takes pictures of any size and the device only one shape (an NPU)."""
SIDE = 320
"""Height and width in pixels of a test input where the graph takes any."""
_NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_DRIVERS = {
    "GPU": "install Intel's GPU driver (Linux: the packages intel-opencl-icd and libze-intel-gpu1), and let this user "
    "open /dev/dri/renderD* (group render)",
    "NPU": "install Intel's NPU driver (github.com/intel/linux-npu-driver), and let this user open /dev/accel/accel0",
}


def openvino_devices() -> list[str]:
    """The keys of `DEVICES` that OpenVINO finds on this machine; none where it is not installed."""
    try:
        found = {each.partition(".")[0] for each in _core().available_devices}
    except ProviderError:
        return []
    return [device for device, plugin in DEVICES.items() if plugin in found]


def open_openvino(data: bytes, name: str, device: str, threads: int = 1) -> OpenVinoSession:
    """Opens an ONNX model.

    int8 files are run as they are. Others are run in float32; on processors on which OpenVINO itself would choose
    bfloat16 (those that multiply in it: AMX), in that, if a test input gives nearly the same (`LARGEST_ERROR`). An NPU
    has no float32: it runs in float16.

    Args:
        data: The model.
        name: For messages.
        device: A key of `DEVICES`.
        threads: Of the CPU.

    Raises:
        ModelError: It is not ONNX, or OpenVINO cannot run it.
        ProviderError: OpenVINO is not installed, finds no such device, or uses another.
    """
    core, plugin = _core(), DEVICES[device]
    if device not in (here := openvino_devices()):
        fix = _DRIVERS.get(plugin, "reinstall openvino")
        other = "device='openvino'" if "openvino" in here else "device='cpu'"
        raise ProviderError(f"device {device!r}: OpenVINO finds no {plugin} here: {fix}; or use {other}")
    # The same checks as on any device: what onnxruntime refuses, or keeps weights in other files, ends here.
    graph = open_onnxruntime(data, name, "cpu", optimise=False)
    try:
        model = core.read_model(data)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot load {name} ({_first_line(error)}): use device='cpu'") from error
    precision = "float16" if plugin == "NPU" and graph.precision == "float32" else graph.precision
    session = OpenVinoSession(core, model, name, device, precision, threads, graph, any_shape=plugin != "NPU")
    if plugin != "CPU" or precision != "float32" or _own_choice(core) != "bf16":
        return session
    faster = OpenVinoSession(core, model, name, device, "bfloat16", threads, graph)
    return faster if _agree(session, faster) else session


class OpenVinoSession:
    """A `Session` of OpenVINO. Each thread has its own request, as two runs of one request would mix.

    Args:
        core: OpenVINO's.
        model: The graph as it read it.
        name: For messages.
        device: A key of `DEVICES`.
        precision: "float32", "bfloat16", "float16" or "int8".
        threads: Of the CPU.
        graph: The same network, opened by onnxruntime: its inputs and outputs.
        any_shape: Whether the device runs a graph that was compiled for any shape.
        sizes: See `SIZES`; empty for one graph for any batch.
    """

    def __init__(
        self, core: Any, model: Any, name: str, device: str, precision: str, threads: int, graph: Session,
        any_shape: bool = True, sizes: tuple[int, ...] = SIZES,
    ) -> None:  # fmt: skip
        self.device, self.precision = device, precision
        self._core, self._model, self._name = core, model, name
        self._inputs, self._outputs = graph.get_inputs(), graph.get_outputs()
        self._names = [output.name for output in self._outputs]
        self._settings = _settings(DEVICES[device], precision, threads)
        first, *rest = self._inputs[0].shape if self._inputs and self._inputs[0].shape else [None, None]
        one_size = len(self._inputs) == 1 and not isinstance(first, int) and all(isinstance(n, int) for n in rest)
        self._sizes = sizes if one_size else () if any_shape else (1,)
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._lock, self._own = threading.Lock(), threading.local()
        if one_size or not self._sizes:
            self._compile((self._sizes[0], *(n for n in rest if isinstance(n, int))) if self._sizes else ())

    def get_inputs(self) -> Sequence[Tensor]:
        """The inputs of the graph."""
        return self._inputs

    def get_outputs(self) -> Sequence[Tensor]:
        """The outputs of the graph."""
        return self._outputs

    def run(self, wanted: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Runs the network: inputs by name -> the outputs that are named, or all."""
        found = self._in_pieces(feeds) if self._sizes else self._infer(feeds)
        return found if wanted is None else [found[self._names.index(name)] for name in wanted]

    def _in_pieces(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Runs a batch in pieces of the sizes for which there are graphs, the last one filled up with its last row."""
        parts, start = [], 0
        (name, value), *_ = feeds.items()
        while start < len(value):
            left = len(value) - start
            size = next((size for size in self._sizes if size >= left), self._sizes[-1])
            piece = value[start : start + size]
            if len(piece) < size:
                piece = np.concatenate([piece, np.repeat(piece[-1:], size - len(piece), axis=0)])
            parts.append([each[:left] for each in self._infer({name: piece})])
            start += size
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _infer(self, feeds: Mapping[str, Array]) -> list[Array]:
        key = tuple(next(iter(feeds.values())).shape) if self._sizes else ()
        compiled = self._compile(key)
        own: dict[int, Any] = self._own.__dict__.setdefault("requests", {})
        if len(own) > SHAPES:
            own.clear()
        kept = own.get(id(compiled))
        if kept is None or kept[0] is not compiled:
            kept = own[id(compiled)] = compiled, compiled.create_infer_request()
        results = kept[1].infer(dict(feeds), share_inputs=True)
        return [results[i] for i in range(len(self._names))]

    def _compile(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            if shape in self._compiled:
                self._compiled.move_to_end(shape)
                return self._compiled[shape]
            try:
                model = self._model
                if shape:
                    model = model.clone()
                    model.reshape(list(shape))
                compiled = self._core.compile_model(model, DEVICES[self.device], self._settings)
            except RuntimeError as error:
                raise ModelError(
                    f"OpenVINO cannot run {self._name} on {self.device!r} ({_first_line(error)}): use device='cpu'"
                ) from error
            used = compiled.get_property("EXECUTION_DEVICES")
            if [each.partition(".")[0].strip("()") for each in used] != [DEVICES[self.device]]:
                raise ProviderError(f"device {self.device!r}: OpenVINO fell back to {used}: use device='cpu'")
            if self.precision != "int8":  # what is really used, which is not always what was asked for
                self.precision = _NAMES.get(_hint(compiled), _hint(compiled))
            self._compiled[shape] = compiled
            if len(self._compiled) > SHAPES:
                self._compiled.popitem(last=False)
            return compiled


def example(session: Session, batch: int = 4) -> dict[str, FloatArray] | None:
    """Noise of -1 to 1 that a network takes, or None where it has several inputs or other than pictures.

    Args:
        session: Of the network.
        batch: Pictures, where it takes any number and their size is fixed.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return None
    first, channels, *sides = inputs[0].shape
    any_size = not all(isinstance(side, int) for side in sides)
    shape = [
        first if isinstance(first, int) else 1 if any_size else batch,
        channels if isinstance(channels, int) else 3,
        *(side if isinstance(side, int) else SIDE for side in sides),
    ]
    return {inputs[0].name: np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)}


def _agree(exact: OpenVinoSession, faster: OpenVinoSession) -> bool:
    given = example(exact)
    try:
        pairs = [] if given is None else list(zip(exact.run(None, given), faster.run(None, given), strict=True))
    except RuntimeError:  # it takes something else than this test input
        return False
    return bool(pairs) and all(
        a.shape == b.shape and float(np.linalg.norm(a - b)) <= LARGEST_ERROR * float(np.linalg.norm(a))
        for a, b in pairs
    )


def _settings(plugin: str, precision: str, threads: int) -> dict[str, Any]:
    # int8 is in the file: what it leaves in floating point stays float32
    found: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": next((own for own, name in _NAMES.items() if name == precision), "f32"),
    }
    if plugin == "NPU":
        found["INFERENCE_PRECISION_HINT"] = "f16"
    if plugin == "CPU":
        # not pinned: several processes would all be pinned to the same cores
        found |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    return found


def _own_choice(core: Any) -> str:
    """The precision in which OpenVINO itself would run float32 files on the CPU, in its words."""
    return str(core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name())


def _hint(compiled: Any) -> str:
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _first_line(error: Exception) -> str:
    """What went wrong, out of a message that begins with places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith("[")), type(error).__name__)[:200]


@cache
def _core() -> Any:
    from lrface.models.runtime import import_openvino

    try:
        return import_openvino().Core()
    except Exception as error:  # a broken native module may raise anything
        what = "not installed" if isinstance(error, ImportError) else "not usable"
        raise ProviderError(
            f"OpenVINO is {what} ({_first_line(error)}): pip install 'lrface[openvino]', or use device='cpu'"
        ) from error
