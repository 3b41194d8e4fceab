"""The only place that imports onnxruntime and OpenVINO: their telemetry is switched off first.

From 1.29 on, onnxruntime writes a device id and a queue of events under HOME and sends them to its maker, unless this
variable is set before it is imported. Import it with `from lrface.models.runtime import onnxruntime`.

OpenVINO writes a client id under HOME and sends an event to its maker when it is imported, unless its package
`openvino_telemetry` cannot be imported. Import it with `import_openvino`.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"

IMPORTED_WITHOUT_SWITCH = "onnxruntime" in sys.modules and os.environ.get(TELEMETRY_VARIABLE) != "1"
"""Whether the app had imported onnxruntime before lrface and left its telemetry on."""

os.environ[TELEMETRY_VARIABLE] = "1"

import onnxruntime as onnxruntime  # noqa: E402  (after the switch)

_lock = threading.Lock()


def openvino_telemetry_is_on() -> bool:
    """Whether the app imported OpenVINO itself, before lrface did, and with it its telemetry."""
    return sys.modules.get("openvino_telemetry") is not None


def import_openvino() -> Any:
    """The module `openvino`, imported without its telemetry, for which it has no switch of its own.

    Raises:
        ImportError: It is not installed.
    """
    with _lock:
        if "openvino" not in sys.modules:
            # None makes the import of this package fail; OpenVINO then takes a stand-in of its own that sends nothing.
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        return importlib.import_module("openvino")
