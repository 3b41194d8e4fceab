"""Binds a run's folder to one recipe and one set of faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.common.files import replacing
from training.data.faces import FaceSet


def bind_run_folder(folder: Path, plan: Any, parse: Callable[[dict[str, Any], str], Any], faces: FaceSet) -> None:
    """Make the folder of a run of ``plan`` on ``faces``, or check that the folder there is of this run.

    Args:
        folder: both are stored in its ``recipe.json`` and ``data.json``.
        plan: a dataclass.
        parse: makes such a dataclass from plain tables, so that options added later get their defaults.
        faces: whose training split is used.

    Raises:
        ValueError: it belongs to another plan, or to other faces, whose held-out people may be training people here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = faces.table["source"].iloc[faces.rows("train")].astype(str).value_counts()
    data = {"set": faces.key, "faces": int(sources.sum()), "sources": {k: int(n) for k, n in sources.items()}}
    _bind_file(folder / "recipe.json", asdict(plan), lambda raw, where: asdict(parse(raw, where)), "recipe")
    _bind_file(folder / "data.json", data, lambda raw, _: {**data, **raw}, "set of faces")


def _bind_file(kept: Path, wanted: dict[str, Any], read: Callable[[Any, str], dict[str, Any]], what: str) -> None:
    if not kept.exists():
        with replacing(kept) as part:
            part.write_text(json.dumps(wanted, indent=1))
        return
    there = read(json.loads(kept.read_text()), str(kept))
    # Compared as JSON, which knows no tuples.
    if json.dumps(there, sort_keys=True) != json.dumps(wanted, sort_keys=True):
        raise ValueError(f"{kept.parent} belongs to another {what}: give another folder, or remove this one")
