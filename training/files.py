"""What training leaves on disk: each file is whole or not there, and a folder belongs to one plan."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from training.faces import FaceSet


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside ``path`` to write to: it takes ``path``'s place if all went well, else it is removed."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_state(state: dict[str, Any], path: Path) -> None:
    """Replace a checkpoint in one step.

    Raises:
        OSError: it cannot be written; the last one stays.
    """
    buffer = io.BytesIO()  # torch.save to a full disk raises RuntimeErrors that do not say so
    torch.save(state, buffer)
    with replacing(path) as part:
        part.write_bytes(buffer.getbuffer())


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


def log_line(run: Path, line: dict[str, Any], by: str) -> None:
    """Put a line into the run's ``log.jsonl``; those from ``line[by]`` on, which a resumed run repeats, are dropped."""
    lines = [old for old in read_log(run) if old[by] < line[by]]
    with replacing(run / "log.jsonl") as part:
        part.write_text("".join(json.dumps(each) + "\n" for each in [*lines, line]))


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of the run's ``log.jsonl``, none where there is none."""
    path = run / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
