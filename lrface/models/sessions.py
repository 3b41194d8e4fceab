"""ONNX sessions: on bytes whose hash was checked, on the device that was asked for, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrface.errors import ArgumentError, ModelError, ProviderError
from lrface.models.safe_files import read_regular

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "coreml": "CoreMLExecutionProvider"}
logger = logging.getLogger(__name__)
_warned: set[int] = set()
"""Numbers of threads whose cap was said: once is enough for all networks of a process."""
_FIX_FILE = "reinstall lrface or restore the file; a model file is never edited in place"


def read_model(path: Path, sha256: str | None) -> bytes:
    """Reads a model file once; what is returned is what was hashed.

    Raises:
        ModelError: The file cannot be read, or its SHA-256 is not `sha256`.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise ModelError(f"cannot read the model {path} ({error.strerror or error}): {_FIX_FILE}") from error
    _check_hash(data, sha256, str(path))
    return data


def open_session(
    data: bytes | Path, sha256: str | None, device: str = "cpu", threads: int = 1
) -> onnxruntime.InferenceSession:
    """Opens an ONNX model on the device asked for, or not at all.

    Args:
        data: The model's bytes, or its file.
        sha256: What these bytes must hash to; None only for a model that the user names by path.
        device: "cpu", "cuda", "cuda:<n>" or "coreml".
        threads: Of the CPU, for one run; no more than `usable_cores` are used.

    Raises:
        ModelError: Unreadable, another hash, not ONNX, or a graph that keeps weights in other files.
        ArgumentError: The device is unknown.
        ProviderError: Its provider is not the one in use.
    """
    name = str(data) if isinstance(data, Path) else "the model"
    if isinstance(data, Path):
        data = read_model(data, sha256)
    else:
        _check_hash(data, sha256, name)
    if b"\n\x08location" in data:  # the key of TensorProto.external_data: such files would be loaded unhashed
        raise ModelError(f"{name} keeps weights in other files, whose hash is not checked: export it as one file")
    return _session(data, name, device, threads)


def usable_cores() -> int:
    """How many CPU cores this process may use: its affinity where the system has one."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def cap_threads(threads: int) -> int:
    """The threads that a run uses: with more than there are cores it would take several times as long.

    Args:
        threads: Asked for.

    Returns:
        1 or more. A warning of this module's logger says so where it is less than asked for.
    """
    used = max(1, min(threads, usable_cores()))
    if threads > used and threads not in _warned:
        _warned.add(threads)
        logger.warning("threads=%d is more than the cores this process may use: %d are used", threads, used)
    return used


def _session(data: bytes, name: str, device: str, threads: int) -> onnxruntime.InferenceSession:
    kind, _, index = device.partition(":")
    if kind not in PROVIDERS or (index and not (kind == "cuda" and index.isdigit())):
        raise ArgumentError(f"unknown device {device!r}: choose one of {', '.join(PROVIDERS)}, or cuda:<n>")
    from lrface.models.runtime import onnxruntime as ort

    wanted = PROVIDERS[kind]
    if wanted not in ort.get_available_providers():
        raise ProviderError(_no_provider(kind, wanted, "this onnxruntime was built without it"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = cap_threads(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised below, with what to do
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
            raise ModelError(f"{name} is not an ONNX model that onnxruntime can load ({error}): {_FIX_FILE}") from error
    if session.get_providers()[0] != wanted:
        raise ProviderError(_no_provider(kind, wanted, f"onnxruntime fell back to {session.get_providers()[0]}"))
    return session


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


def _check_hash(data: bytes, sha256: str | None, name: str) -> None:
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ModelError(f"{name} is altered: its SHA-256 is {found[:12]}…, expected {sha256[:12]}…: {_FIX_FILE}")
