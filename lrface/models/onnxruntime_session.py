"""Sessions of onnxruntime: on the provider that was asked for, or not at all."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lrface.errors import ModelError, ProviderError
from lrface.types import Array

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}
FIX_FILE = "reinstall lrface or restore the file; a model file is never edited in place"


class Tensor(Protocol):
    """An input or output of a graph: its name, and its shape (a number where it is fixed)."""

    name: str
    shape: list[int | str | None]


class Session(Protocol):
    """An opened network; safe to use from several threads.

    Attributes:
        device: That runs it, as `open_session` takes it.
        precision: In which it computes: "float32", "bfloat16", "float16", or "int8" where the file says so.
    """

    device: str
    precision: str

    def get_inputs(self) -> Sequence[Tensor]:
        """The inputs of the graph."""
        ...

    def get_outputs(self) -> Sequence[Tensor]:
        """The outputs of the graph."""
        ...

    def run(self, wanted: Sequence[str] | None, feeds: Mapping[str, Array]) -> list[Array]:
        """Runs the network: inputs by name -> the outputs that are named, or all."""
        ...


class OnnxruntimeSession:
    """A `Session` of onnxruntime."""

    def __init__(self, session: onnxruntime.InferenceSession, device: str, precision: str) -> None:
        self.device, self.precision = device, precision
        self.get_inputs, self.get_outputs, self.run = session.get_inputs, session.get_outputs, session.run


def precision_of(data: bytes) -> str:
    """The precision of a file: int8 for a graph with quantised layers, else float32."""
    return "int8" if b"DequantizeLinear" in data else "float32"


def open_onnxruntime(
    data: bytes, name: str, kind: str, index: str = "", threads: int = 1, optimise: bool = True
) -> OnnxruntimeSession:
    """Opens an ONNX model.

    Args:
        data: The model.
        name: For messages.
        kind: A key of `PROVIDERS`.
        index: Number of the GPU, for "cuda".
        threads: Of the CPU.
        optimise: False for a session that is only asked for its inputs and outputs: it opens faster.

    Raises:
        ModelError: It is not ONNX.
        ProviderError: The provider is not the one in use.
    """
    from lrface.models.runtime import onnxruntime as ort

    wanted = PROVIDERS[kind]
    if wanted not in ort.get_available_providers():
        raise ProviderError(_no_provider(kind, wanted, "this onnxruntime was built without it"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised below, with what to do
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings: dict[str, str] = {}
    if kind == "cuda":
        _preload_cuda(ort)
        # no TF32, so that an embedding is the same on either device; no search for each new input size
        settings = {"device_id": index or "0", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    # Weights in other files are looked for in an empty folder: also those that the check of the bytes has not seen.
    with tempfile.TemporaryDirectory(prefix="lrface-") as empty:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
        try:
            session = ort.InferenceSession(data, options, providers=[(wanted, settings)])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            if kind != "cpu" and wanted.removesuffix("ExecutionProvider").lower() in str(error).lower():
                raise ProviderError(_no_provider(kind, wanted, str(error))) from error
            raise ModelError(f"{name} is not an ONNX model that onnxruntime can load ({error}): {FIX_FILE}") from error
    if session.get_providers()[0] != wanted:
        raise ProviderError(_no_provider(kind, wanted, f"onnxruntime fell back to {session.get_providers()[0]}"))
    return OnnxruntimeSession(session, f"{kind}:{index}" if index else kind, precision_of(data))


def _preload_cuda(ort: Any) -> None:
    """Finds the CUDA libraries of the nvidia-* packages, which no loader looks for in site-packages."""
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it prints what it misses
            warnings.simplefilter("ignore")
            ort.preload_dlls()


def _no_provider(kind: str, wanted: str, why: str) -> str:
    fix = {
        "cuda": 'install the NVIDIA driver and `pip install "onnxruntime-gpu[cuda,cudnn]"` (no plain onnxruntime '
        "beside it), or use device='cpu'; `lrface doctor` tells more",
    }.get(kind, "use device='cpu'")
    return f"device {kind!r} was asked for but {wanted} is not in use ({why}): {fix}"
