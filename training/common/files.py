"""Files that training writes: each is complete or absent, also after a crash."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to: it replaces ``path`` on success and is removed on an error."""
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
    import torch  # takes seconds, and benchmarks that only read files do without

    buffer = io.BytesIO()  # torch.save to a full disk raises RuntimeErrors that do not say so
    torch.save(state, buffer)
    with replacing(path) as part:
        part.write_bytes(buffer.getbuffer())


def log_line(run: Path, line: dict[str, Any], by: str) -> None:
    """Add a line to the run's ``log.jsonl``; those from ``line[by]`` on, which a resumed run repeats, are dropped."""
    lines = [old for old in read_log(run) if old[by] < line[by]]
    with replacing(run / "log.jsonl") as part:
        part.write_text("".join(json.dumps(each) + "\n" for each in [*lines, line]))


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of the run's ``log.jsonl``, none where there is none."""
    path = run / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
