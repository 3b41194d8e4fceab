"""Who was here: tracks by person and camera, filtered by time, and as CSV."""

from __future__ import annotations

import csv
import datetime as dt
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from lrface.errors import UnknownPersonError
from lrface.gallery import Gallery
from lrface.redaction import csv_cell
from lrface.serve.console.rendering import MOST_NAMES, Console
from lrface.serve.problems import Problem
from lrface.serve.store import MOST, ServiceStore
from lrface.serve.trackrecords import StoredTrack

UNKNOWN = "/unknown"
"""Who is asked for where unknown people are: no name has a slash."""

_PAGE = 100
_ROWS = 30  # of the timeline
_LEAST_BAR = 0.3  # percent of the timeline's width: shorter visits stay visible


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the timeline.

    Attributes:
        name: Of the person, or "unknown".
        camera: Where.
        named: Whether the person has a name.
        bars: Left edge and width of each track in percent, and its words.
    """

    name: str
    camera: str
    named: bool
    bars: tuple[tuple[float, float, str], ...]


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service

    async def history(request: Request) -> Response:
        given = request.query_params
        wanted, before, chosen = filter_of(given), given.get("before", ""), ""
        if wanted["person"] is not None:
            wanted["person"], chosen = await service.read(_chosen, service.matcher.gallery, wanted["person"])
        older_than = int(before) if before.isascii() and before.isdecimal() and len(before) < 19 else None
        tracks = await service.read(service.store.tracks, before=older_than, limit=_PAGE, **wanted)
        names = await service.read(service.names.first, MOST_NAMES)
        if chosen and chosen not in names:
            names = [*names, chosen]
        asked = {key: value for key, value in given.items() if value and key != "before"}
        older = urlencode({**asked, "before": tracks[-1].id}) if len(tracks) == _PAGE else ""
        first = min((track.first_at for track in tracks), default=0.0)
        start = max(first, wanted["since"] or 0.0)  # the hours before the first of them would be empty
        end = wanted["until"] if wanted["until"] is not None else time.time()
        return console.page(
            request, "history.html", tracks=tracks, names=names, chosen=chosen, unknown=UNKNOWN, asked=asked,
            cameras=service.frames.names, since=_local(wanted["since"]), until=_local(wanted["until"]),
            query=urlencode(asked), older=older, rows=timeline(tracks, start, end), start=start, end=end,
            zone=time.strftime("%Z"),
        )  # fmt: skip

    async def as_csv(request: Request) -> Response:
        wanted = filter_of(request.query_params)
        if wanted["person"] is not None:
            wanted["person"], _ = await service.read(_chosen, service.matcher.gallery, wanted["person"])
        text = await service.read(csv_text, service.store, wanted)
        name = f"who-was-here-{dt.date.today():%Y-%m-%d}.csv"
        return Response(text, 200, {"Content-Disposition": f'attachment; filename="{name}"'}, "text/csv")

    return [console.route("/history", history), console.route("/history.csv", as_csv)]


def _chosen(gallery: Gallery, who: str) -> tuple[str, str]:
    """The id and the name of somebody by either; of somebody who was removed meanwhile, what was given."""
    try:
        person = gallery.person(who)
    except UnknownPersonError:
        return who, who
    return person.id, person.name


def filter_of(given: Mapping[str, str]) -> dict[str, Any]:
    """What a form of the page asks for, as `ServiceStore.tracks` takes it; without a time: since this midnight.

    Raises:
        Problem: A time is none.
    """
    who = given.get("who", "")
    since = _seconds(given["since"]) if "since" in given else _midnight()
    return {
        "since": since,
        "until": _seconds(given.get("until", "")),
        "camera": given.get("camera") or None,
        "person": who if who not in ("", UNKNOWN) else None,
        "unknown": who == UNKNOWN,
    }


def timeline(tracks: Sequence[StoredTrack], start: float, end: float) -> list[Row]:
    """Tracks as bars, a line for each person at each camera, who came last first.

    Args:
        tracks: The newest first.
        start: Left edge, seconds since 1970.
        end: Right edge.
    """
    lines: dict[tuple[str, str], list[StoredTrack]] = {}
    for track in tracks:
        lines.setdefault((track.name or "unknown", track.camera), []).append(track)
    length = max(1.0, end - start)

    def bar(track: StoredTrack) -> tuple[float, float, str]:
        left = min(100 - _LEAST_BAR, max(0.0, 100 * (track.first_at - start) / length))
        width = max(_LEAST_BAR, 100 * (track.last_at - max(start, track.first_at)) / length)
        words = f"{_time(track.first_at)} to {_time(track.last_at)}"
        return round(left, 3), round(min(width, 100 - left), 3), words

    return [
        Row(name, camera, own[0].name is not None, tuple(bar(track) for track in own))
        for (name, camera), own in list(lines.items())[:_ROWS]
    ]


def csv_text(store: ServiceStore, wanted: Mapping[str, Any]) -> str:
    """All tracks of a filter as CSV, the newest first; times with this machine's zone."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("track", "camera", "from", "to", "person", "name", "similarity", "threshold", "reason", "label"))
    for track in _all(store, wanted):
        values = (
            track.id, track.camera, _iso(track.first_at), _iso(track.last_at), track.person or "", track.name or "",
            *("" if each is None else f"{each:.4f}" for each in (track.similarity, track.threshold)),
            track.reason or "", track.label or "",
        )  # fmt: skip
        writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in values])
    return out.getvalue()


def _all(store: ServiceStore, wanted: Mapping[str, Any]) -> Iterator[StoredTrack]:
    before: int | None = None
    while page := store.tracks(before=before, limit=MOST, **wanted):
        yield from page
        before = page[-1].id


def _midnight() -> float:
    return dt.datetime.combine(dt.date.today(), dt.time()).timestamp()


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise Problem(422, f"{text[:40]!a} is no time: write it as 2026-03-31T09:14") from error


def _local(seconds: float | None) -> str:
    return "" if seconds is None else f"{dt.datetime.fromtimestamp(seconds):%Y-%m-%dT%H:%M}"


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _time(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds):%H:%M:%S}"
