"""A folder of a run belongs to one plan and one set of faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.common.files import replacing
from training.data.faces import FaceSet


def claim(folder: Path, plan: Any, parse: Callable[[dict[str, Any], str], Any], faces: FaceSet) -> None:
    """Make a folder that belongs to ``plan`` and ``faces``, or see that it does.

    Args:
        folder: keeps them in ``recipe.json`` and ``data.json``.
        plan: a dataclass.
        parse: makes one of plain tables, so that options that came later have their defaults.
        faces: whose training split is used.

    Raises:
        ValueError: it belongs to another plan, or to other faces: people held out there may be trained on here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = faces.table["source"].iloc[faces.rows("train")].astype(str).value_counts()
    data = {"set": faces.key, "faces": int(sources.sum()), "sources": {k: int(n) for k, n in sources.items()}}
    _claim(folder / "recipe.json", asdict(plan), lambda raw, where: asdict(parse(raw, where)), "recipe")
    _claim(folder / "data.json", data, lambda raw, _: {**data, **raw}, "set of faces")


def _claim(kept: Path, said: dict[str, Any], read: Callable[[Any, str], dict[str, Any]], what: str) -> None:
    if not kept.exists():
        with replacing(kept) as part:
            part.write_text(json.dumps(said, indent=1))
        return
    there = read(json.loads(kept.read_text()), str(kept))
    # Compared as JSON, which knows no tuples.
    if json.dumps(there, sort_keys=True) != json.dumps(said, sort_keys=True):
        raise ValueError(f"{kept.parent} was begun with another {what}; name another folder or remove it")
