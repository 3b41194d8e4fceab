"""ONNX sessions: on bytes whose hash was checked, on the device that was asked for, or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from lrface.errors import ArgumentError, ModelError
from lrface.models.onnxruntime_session import FIX_FILE, PROVIDERS, Session, open_onnxruntime
from lrface.models.openvino_session import DEVICES as OPENVINO_DEVICES
from lrface.models.openvino_session import example, open_openvino, openvino_devices
from lrface.models.safe_files import read_regular
from lrface.types import FloatArray

AUTO = "auto"
DEVICES = f"{', '.join(PROVIDERS)}, cuda:<n>, {', '.join(OPENVINO_DEVICES)} or {AUTO}"
"""What a device may be, for messages."""
TRIALS = 5
"""Runs of each device by which "auto" compares them."""
logger = logging.getLogger(__name__)
_warned: set[int] = set()
"""Numbers of threads whose cap was said: once is enough for all networks of a process."""


def read_model(path: Path, sha256: str | None) -> bytes:
    """Reads a model file once; what is returned is what was hashed.

    Raises:
        ModelError: The file cannot be read, or its SHA-256 is not `sha256`.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise ModelError(f"cannot read the model {path} ({error.strerror or error}): {FIX_FILE}") from error
    _check_hash(data, sha256, str(path))
    return data


def open_session(data: bytes | Path, sha256: str | None, device: str = "cpu", threads: int = 1) -> Session:
    """Opens an ONNX model on the device asked for, or not at all.

    Args:
        data: The model's bytes, or its file.
        sha256: What these bytes must hash to; None only for a model that the user names by path.
        device: "cpu", "cuda", "cuda:<n>" or "coreml" (onnxruntime); "openvino" (OpenVINO on the CPU), "openvino:gpu" or
            "openvino:npu"; "auto" for the one of them that runs this network fastest here, measured when it is opened.
        threads: Of the CPU, for one run; no more than `usable_cores` are used.

    Returns:
        A session whose `device` and `precision` say what runs it.

    Raises:
        ModelError: Unreadable, another hash, not ONNX, or a graph that keeps weights in other files.
        ArgumentError: The device is unknown.
        ProviderError: It is not the one in use.
    """
    name = str(data) if isinstance(data, Path) else "the model"
    if isinstance(data, Path):
        data = read_model(data, sha256)
    else:
        _check_hash(data, sha256, name)
    if b"\n\x08location" in data:  # the key of TensorProto.external_data: such files would be loaded unhashed
        raise ModelError(f"{name} keeps weights in other files, whose hash is not checked: export it as one file")
    used = cap_threads(threads)
    return _fastest(data, name, used) if device == AUTO else _open(data, name, device, used)


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


def describe(session: Session) -> str:
    """What runs a network, in words: "openvino in bfloat16"."""
    return f"{session.device} in {session.precision}"


def has_nvidia_driver() -> bool:
    """Whether NVIDIA's driver library is on this machine."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _open(data: bytes, name: str, device: str, threads: int) -> Session:
    kind, _, index = device.partition(":")
    if device in OPENVINO_DEVICES:
        return open_openvino(data, name, device, threads)
    if kind not in PROVIDERS or (index and not (kind == "cuda" and index.isdigit())):
        raise ArgumentError(f"unknown device {device!r}: choose one of {DEVICES}")
    return open_onnxruntime(data, name, kind, index, threads)


def _fastest(data: bytes, name: str, threads: int) -> Session:
    """The network on the device that runs it fastest here: the CPU by onnxruntime, unless another saves a tenth."""
    from lrface.models.runtime import onnxruntime

    plain = _open(data, name, "cpu", threads)
    given = example(plain)
    if given is None:
        return plain
    offered = onnxruntime.get_available_providers()
    others = [kind for kind in ("cuda", "coreml") if PROVIDERS[kind] in offered]
    if not has_nvidia_driver():  # onnxruntime would print pages of warnings
        others = [kind for kind in others if kind != "cuda"]
    sessions = [plain]
    for device in [*others, *openvino_devices()]:
        try:
            session = _open(data, name, device, threads)
            session.run(None, given)  # the first run is slower
        except Exception as error:  # each backend has exceptions of its own; what it cannot run, it does not run fast
            logger.debug("device auto: %s cannot run %s (%s)", device, name, error)
        else:
            sessions.append(session)
    best, least = plain, 0.9 * _seconds(plain, given)
    for session in sessions[1:]:
        if (took := _seconds(session, given)) < least:
            best, least = session, took
    logger.info("device auto: %s runs %s in %s", best.device, name, best.precision)
    return best


def _seconds(session: Session, given: Mapping[str, FloatArray]) -> float:
    """The shortest of a few runs."""
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        session.run(None, given)
        times.append(time.perf_counter() - start)
    return min(times)


def _check_hash(data: bytes, sha256: str | None, name: str) -> None:
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ModelError(f"{name} is altered: its SHA-256 is {found[:12]}…, expected {sha256[:12]}…: {FIX_FILE}")
