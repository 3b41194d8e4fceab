"""The only place that imports onnxruntime: its telemetry is switched off first.

From 1.29 on, onnxruntime writes a device id and a queue of events under HOME and sends them to its maker, unless this
variable is set before it is imported. Import it with `from lrface.models.runtime import onnxruntime`.
"""

from __future__ import annotations

import os
import sys

TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"

IMPORTED_WITHOUT_SWITCH = "onnxruntime" in sys.modules and os.environ.get(TELEMETRY_VARIABLE) != "1"
"""Whether the app had imported onnxruntime before lrface and left its telemetry on."""

os.environ[TELEMETRY_VARIABLE] = "1"

import onnxruntime as onnxruntime  # noqa: E402  (after the switch)
