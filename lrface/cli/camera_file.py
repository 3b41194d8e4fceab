"""`lrface watch GALLERY cameras.toml`: several cameras in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrface.cli.output import note, say
from lrface.errors import LrfaceError
from lrface.outputs.records import json_line

if TYPE_CHECKING:
    from lrface.cameras.config import Settings
    from lrface.matcher import FaceMatcher


def watch_file(
    settings: Settings, matcher: FaceMatcher, out: str | None, as_json: bool, keep_strangers_s: float
) -> None:
    """Watches the cameras of a file, prints a line for each event, and delivers events to their receivers.

    Args:
        settings: What the file says.
        matcher: Open.
        out: Folder in which a new one with `events.jsonl` is made for this run; None: none.
        as_json: Whether lines are JSON.
        keep_strangers_s: Seconds for which a stranger's template is kept in memory.

    Raises:
        LrfaceError: A camera could not be read, after all others have ended; or events cannot be stored.
    """
    from lrface.cameras.receivers import open_receivers
    from lrface.cameras.running import watch_cameras
    from lrface.inputs.live import StreamEventKind
    from lrface.outputs.files import run_folder
    from lrface.outputs.sinks import JsonLines

    def told(records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            if as_json:
                click.echo(json_line(record))
            else:
                say(_line(record))

    def stream_event(camera: Any, event: Any) -> None:
        note(f"lrface: {camera.name}: {event.message}")
        receivers.camera_answers(camera.name, event.kind == StreamEventKind.CONNECTED)

    with ExitStack() as stack:
        lines = None if out is None else JsonLines(run_folder(out) / "events.jsonl")
        receivers = open_receivers(settings, lambda text: note(f"lrface: {text}"), lines)
        stack.callback(_close, receivers.sinks)
        reports = watch_cameras(
            matcher,
            settings.cameras,
            sinks=receivers.sinks,
            keep_strangers_s=keep_strangers_s,
            on_events=told,
            on_stream_event=stream_event,
        )
    for report in reports:
        note(f"{report.camera}: {report.frames} frames, {report.events} events, {report.latency}")
    if lines is not None:
        note(f"wrote {lines.path}")
    failed = [f"{report.camera} ({report.error})" for report in reports if report.error is not None]
    if failed:
        raise LrfaceError(f"{len(failed)} of {len(reports)} cameras could not be read: {'; '.join(failed)}")


def _close(sinks: Any) -> None:
    for name, count in sinks.close().items():
        if count:
            note(f"lrface: {count} events wait for {name}; the next run sends them")


def _line(record: Mapping[str, Any]) -> str:
    """One event for people: when, which camera, what, who."""
    when = record["wall_time"]
    clock = f"{record['time_s']:.3f} s" if when is None else datetime.fromisoformat(when).astimezone().strftime("%X")
    similarity = "" if record["similarity"] is None else f"  similarity {record['similarity']:.2f}"
    who = record["name"] or ("unknown" if record["unknown"] is None else f"unknown {record['unknown'][:8]}")
    return f"{clock}  {record['camera']}  track {record['track']} {record['event']}: {who}{similarity}"


def is_camera_file(source: str) -> bool:
    """Whether a source of `lrface watch` is a file of cameras."""
    return Path(source).suffix.lower() == ".toml" and "://" not in source
