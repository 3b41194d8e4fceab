"""Writes the files of a models folder that lrface reads: `manifest.json`, and `calibration.json` with its hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrface.models.manifest import CALIBRATION


def write_json(path: Path, value: Mapping[str, Any], indent: int = 2) -> bytes:
    """Writes a JSON file in one step: it is the old one or the new one at any instant. Returns its bytes.

    Raises:
        OSError: It cannot be written; the old one stays.
        ValueError: A number is not finite.
    """
    data = (json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return data


def write_calibration(folder: Path, calibration: Mapping[str, Any]) -> None:
    """Writes `calibration.json`, and its SHA-256 into the folder's manifest, by which damage is noticed.

    Args:
        folder: Holds manifest.json.
        calibration: As `Calibration.load` reads it.

    Raises:
        OSError: A file cannot be written. If it is the manifest, the calibration is refused until it is made again.
        ValueError: A number is not finite.
    """
    manifest = json.loads((folder / "manifest.json").read_bytes())
    data = write_json(folder / CALIBRATION, calibration, indent=1)
    manifest["calibration"] = {"sha256": hashlib.sha256(data).hexdigest()}
    write_json(folder / "manifest.json", manifest)
