"""`lrface doctor`: what is installed, what really works, and the fix of what does not."""

from __future__ import annotations

import importlib
import platform
import shutil
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

from lrface import __version__
from lrface.errors import CalibrationError, LrfaceError, ProviderError

OK, NOTE, PROBLEM = "ok", "note", "PROBLEM"

_MODULES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "onnxruntime": "onnxruntime-gpu",
    "PIL": "pillow",
    "click": "click",
    "tqdm": "tqdm",
    "av": "av",
}
_SYSTEM_LIBRARIES = {
    "libGL": "opencv-python needs a display: pip uninstall -y opencv-python opencv-contrib-python && "
    "pip install --force-reinstall --no-deps opencv-python-headless",
    "libgthread": "apt-get install libglib2.0-0",
    "libgomp": "apt-get install libgomp1",
    "libstdc++": "apt-get install libstdc++6",
}
_FAMILIES = {
    "onnxruntime": (
        "onnxruntime-gpu",
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    ),
    "OpenCV": (
        "opencv-python-headless",
        ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        status: OK, NOTE (something that not everybody needs is missing) or PROBLEM.
        what: What was looked at.
        detail: What was found.
        fix: What to do; empty if nothing.
    """

    status: str
    what: str
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether lrface works all the same."""
        return self.status != PROBLEM

    def __str__(self) -> str:
        fix = f"\n         fix: {self.fix}" if self.fix else ""
        return f"{self.status:<8} {self.what}: {self.detail}{fix}"


def examine() -> Iterator[Finding]:
    """Makes all checks, the quickest first; never raises."""
    yield Finding(OK, "lrface", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from check_telemetry()
    imported = [check_import(module, package) for module, package in _MODULES.items()]
    yield from imported
    yield from check_doubles({name.lower() for dist in metadata.distributions() if (name := dist.metadata["Name"])})
    if all(finding.ok for finding in imported):
        yield from check_models()
        yield from check_devices()
        yield check_video()
        yield check_pipeline()
    yield from check_portraits()


def check_import(
    module: str, package: str, import_module: Callable[[str], ModuleType] = importlib.import_module
) -> Finding:
    """Whether a module can be imported; a missing system library is named with its fix."""
    try:
        version = getattr(import_module(module), "__version__", None) or metadata.version(package)
    except Exception as error:  # a broken native module may raise anything
        lines = str(error).splitlines() or [type(error).__name__]
        fix = next((fix for library, fix in _SYSTEM_LIBRARIES.items() if library in str(error)), None)
        return Finding(PROBLEM, module, lines[0], fix or f"pip install --force-reinstall {package}")
    return Finding(OK, module, str(version))


def check_telemetry() -> Iterator[Finding]:
    """Whether onnxruntime and OpenVINO are imported with their telemetry off; before any other check imports them."""
    try:
        from lrface.models import runtime
    except Exception:  # reported by check_import: a broken native module may raise anything
        return
    if runtime.IMPORTED_WITHOUT_SWITCH:
        fix = f"set {runtime.TELEMETRY_VARIABLE}=1 in the environment, or import lrface.models.runtime first"
        yield Finding(PROBLEM, "telemetry", "the app imported onnxruntime before lrface, with telemetry on", fix)
    else:
        yield Finding(OK, "telemetry", f"onnxruntime's is off ({runtime.TELEMETRY_VARIABLE}=1)")
    if runtime.openvino_telemetry_is_on():
        fix = "import it with lrface.models.runtime.import_openvino, or pip uninstall openvino-telemetry"
        yield Finding(PROBLEM, "telemetry", "the app imported OpenVINO itself, with telemetry on", fix)
    else:
        yield Finding(OK, "telemetry", "OpenVINO's is off (its package is not imported)")


def check_doubles(installed: Set[str]) -> Iterator[Finding]:
    """Packages that overwrite each other's files when both are installed.

    Args:
        installed: Names of the distributions, lower case.
    """
    for family, (wanted, members) in _FAMILIES.items():
        there = [name for name in members if name in installed]
        if len(there) < 2:
            yield Finding(OK, family, f"one flavour: {there[0] if there else 'none by pip'}")
            continue
        keep = wanted if wanted in there else there[-1]
        why = " (insightface asks for the second flavour; it works with the one that stays)"
        yield Finding(
            PROBLEM,
            family,
            f"{' and '.join(there)} overwrite each other's files{why if 'insightface' in installed else ''}",
            f"pip uninstall -y {' '.join(there)} && pip install --no-deps {keep}",
        )


def check_models() -> Iterator[Finding]:
    """The bundled models' hashes, and whether the calibration is theirs."""
    from lrface.decisions.calibration import Calibration
    from lrface.models.manifest import Manifest

    fix = "reinstall lrface; in a checkout: git checkout -- models/"
    try:
        manifest = Manifest.load()
        for status in manifest.verify():
            yield Finding(OK if status.ok else PROBLEM, status.name, status.detail, "" if status.ok else fix)
        Calibration.of(manifest)
        yield Finding(OK, "calibration", "belongs to these models")
    except CalibrationError as error:
        yield Finding(PROBLEM, "calibration", str(error), fix)
    except LrfaceError as error:
        yield Finding(PROBLEM, "models", str(error), fix)


def check_devices() -> Iterator[Finding]:
    """Which providers onnxruntime offers, what OpenVINO finds, and which of them really run a model."""
    from lrface.models.manifest import Manifest
    from lrface.models.onnxruntime_session import PROVIDERS
    from lrface.models.runtime import onnxruntime
    from lrface.models.sessions import describe, open_session

    offered = onnxruntime.get_available_providers()
    yield Finding(OK, "providers offered", ", ".join(offered))
    try:
        manifest = Manifest.load()
        read = {entry.name: (manifest.read(entry), entry.sha256) for entry in manifest.entries}
        name, model = next(iter(read.items()))
    except (LrfaceError, StopIteration):
        return  # reported by check_models
    onnxruntime.set_default_logger_severity(4)  # it shouts about libraries that machines without a GPU lack
    has_gpu = shutil.which("nvidia-smi") is not None
    for device, provider in PROVIDERS.items():
        if provider not in offered:
            if device == "cuda" and has_gpu:
                fix = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
                yield Finding(PROBLEM, "device cuda", "there is a GPU, but this onnxruntime cannot use it", fix)
            continue
        try:
            session = open_session(*model, device)
        except ProviderError as error:
            if device == "cuda" and not has_gpu:
                yield Finding(NOTE, "device cuda", "not usable: no NVIDIA GPU or driver here; the CPU is used")
            else:
                yield Finding(PROBLEM, f"device {device}", "offered, but a session does not use it", str(error))
        except LrfaceError as error:
            yield Finding(PROBLEM, f"device {device}", str(error), "see the models above")
        else:
            yield Finding(OK, f"device {device}", f"{provider} runs {name} in {session.precision}")
    yield from check_openvino(name, *model)
    try:
        chosen = [f"{each} on {describe(open_session(*model, 'auto'))}" for each, model in read.items()]
    except LrfaceError as error:
        yield Finding(PROBLEM, "device auto", str(error), "see the models above")
    else:
        yield Finding(OK, "device auto", f"would run {', '.join(chosen)} (one thread)")


def check_openvino(name: str, data: bytes, sha256: str) -> Iterator[Finding]:
    """Which devices OpenVINO finds, and whether they run a model."""
    from lrface.models.openvino_session import openvino_devices
    from lrface.models.sessions import open_session

    try:
        found = openvino_devices()
    except Exception as error:  # a broken native module may raise anything
        yield Finding(PROBLEM, "device openvino", str(error), "pip install --force-reinstall openvino")
        return
    if not found:
        yield Finding(NOTE, "device openvino", "not installed; on Intel processors often faster: lrface[openvino]")
    for device in found:
        try:
            session = open_session(data, sha256, device)
        except LrfaceError as error:
            yield Finding(PROBLEM, f"device {device}", "found, but a session does not use it", str(error))
        else:
            yield Finding(OK, f"device {device}", f"runs {name} in {session.precision}")


def check_video() -> Finding:
    """Whether this OpenCV reads videos."""
    import cv2

    names = {cv2.videoio_registry.getBackendName(backend) for backend in cv2.videoio_registry.getStreamBackends()}
    if "FFMPEG" in names:
        return Finding(OK, "video", "OpenCV reads files and streams by FFmpeg")
    fix = "pip install --force-reinstall --no-deps opencv-python-headless"
    return Finding(PROBLEM, "video", "this OpenCV was built without FFmpeg", fix)


def check_pipeline() -> Finding:
    """One grey picture through detector, embedders and gallery."""
    import numpy as np

    try:
        from lrface.matcher import FaceMatcher

        with FaceMatcher.open(":memory:") as matcher:
            matcher.identify(np.full((96, 96, 3), 127, np.uint8))
    except LrfaceError as error:
        return Finding(PROBLEM, "a picture", str(error), "fix what is named above first")
    return Finding(OK, "a picture", "goes from detector to decision")


def check_portraits() -> Iterator[Finding]:
    """Whether `lrface demo` finds its two portraits."""
    from lrface.cli.demo_scene import COLLINS, HOPPER

    for portrait in (COLLINS, HOPPER):
        try:
            yield Finding(OK, "demo", f"{portrait.name} in {portrait.file()}")
        except LrfaceError as error:
            yield Finding(NOTE, "demo", f"`lrface demo` cannot run: {error}")
