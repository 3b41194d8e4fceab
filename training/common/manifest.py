"""Writes ``models/manifest.json``, the list of shipped models; tools outside the project read it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lrface.models.writing import write_json

WEIGHTS_LICENSE = "LicenseRef-lrface-weights (research and evaluation, see LICENSE-WEIGHTS.md)"
MEASURED = ["<!-- figures: written by benchmarks/publish/cards.py -->", "<!-- end of figures -->"]
"""Lines of a card between which the benchmarks' figures go."""
MODELS = Path(__file__).resolve().parents[2] / "models"


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def add_model(entry: dict[str, Any], folder: Path = MODELS) -> None:
    """Put a model's entry into the manifest, in place of one of the same name; the file is replaced in one step."""
    path = folder / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"schema": 1, "models": []}
    before: dict[str, Any] = next((model for model in manifest["models"] if model["name"] == entry["name"]), {})
    entry = {key: before[key] for key in ("serves", "enrolment") if key in before} | entry  # kept by an export
    others = [model for model in manifest["models"] if model["name"] != entry["name"]]
    manifest["models"] = sorted([*others, entry], key=lambda model: model["name"])
    write_json(path, manifest)
