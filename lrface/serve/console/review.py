"""Review: unknown tracks in groups, to be named or ignored; what was done last, to be undone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.errors import GalleryError
from lrface.gallery import Gallery
from lrface.serve.access import Role
from lrface.serve.console.rendering import (
    MOST_NAMES,
    Console,
    fields_of,
    identity_of,
    name_list,
    plural,
    track_ids,
)
from lrface.serve.grouping import MOST, group_tracks, same_thresholds
from lrface.serve.people import person_of
from lrface.serve.problems import Problem
from lrface.serve.review import NAMED, NOT_THIS_PERSON, label_tracks, name_tracks, not_this_person, undo
from lrface.serve.trackrecords import StoredAction, StoredTrack
from lrface.tracks.decision import CANDIDATES, decide_track

if TYPE_CHECKING:
    from lrface.serve.service import Service

_GROUPS, _SHOWN, _ACTIONS = 24, 12, 15


@dataclass(frozen=True, slots=True)
class Group:
    """Tracks of one unknown person, as far as the templates tell.

    Attributes:
        tracks: The one with the best picture first.
        more: How many of them are shown only on demand.
        cameras: Where, in words.
        last_at: When one of them was seen last, seconds since 1970.
    """

    tracks: tuple[StoredTrack, ...]
    more: int
    cameras: str
    last_at: float


@dataclass(frozen=True, slots=True)
class Done:
    """An action in words.

    Attributes:
        action: As it is kept.
        text: What was done.
    """

    action: StoredAction
    text: str


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service
    groups_of = UnknownGroups(service)

    async def review(request: Request) -> Response:
        groups = await service.work(identity_of(request), groups_of.current)
        offered = await service.read(service.names.first, MOST_NAMES)
        actions = await service.read(service.store.actions, _ACTIONS)
        names = await service.read(_names, service.matcher.gallery, actions)
        wanted = request.query_params.get("done", "")
        done = [Done(each, in_words(each, names)) for each in actions]
        first = _number(request.query_params.get("from", ""))
        page = groups[first : first + _GROUPS]
        known = await service.work(identity_of(request), known_by_now, service, page)
        return console.page(
            request, "review.html", groups=page, known=known, total=len(groups), first=first,
            following=first + _GROUPS if first + _GROUPS < len(groups) else 0, shown=_SHOWN,
            strangers=service.unknown_days > 0, names=offered, actions=done,
            done=next((each for each in done if str(each.action.id) == wanted), None),
        )  # fmt: skip

    async def say(request: Request) -> Response:
        fields, who = await fields_of(request), identity_of(request)
        tracks, name = track_ids(fields), str(fields.get("person", "")).strip()
        if fields.get("what") == "ignore":
            await service.read(check_unknown, service, tracks)
            action = await service.change(who, label_tracks, service, tracks, "ignored")
        elif not name:
            raise Problem(422, "who is it? Write a name, or choose one of the list")
        else:
            await service.read(check_unknown, service, tracks, name)
            named = await service.work(who, name_tracks, service, tracks, name, "learn" in fields)
            action = named.action
        return RedirectResponse(f"/review?done={action.id}", 303)

    async def correct(request: Request) -> Response:
        track = int(request.path_params["track"])
        action = await service.change(identity_of(request), not_this_person, service, track)
        return RedirectResponse(f"/review?done={action.id}", 303)

    async def take_back(request: Request) -> Response:
        number = int(request.path_params["action"])
        action = await service.change(identity_of(request), undo, service, number)
        return RedirectResponse(f"/review?done={action.id}", 303)

    return [
        console.route("/review", review),
        console.route("/review", say, Role.OPERATOR, "POST"),
        console.route("/review/not/{track:int}", correct, Role.OPERATOR, "POST"),
        console.route("/review/undo/{action:int}", take_back, Role.OPERATOR, "POST"),
    ]


class UnknownGroups:
    """The newest unknown tracks that somebody has not ignored, in groups of one person each.

    They are grouped again only where tracks have come, gone or changed: of 2,000 all pairs are compared.

    Args:
        service: Of which.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._last: tuple[list[tuple[int, float]], list[list[int]]] = [], []

    def current(self) -> list[Group]:
        """The groups of this moment, the largest first."""
        store = self._service.store
        tracks: dict[int, StoredTrack] = {}
        before: int | None = None
        while len(tracks) < MOST and (page := store.tracks(before=before, unknown=True, limit=500)):
            tracks.update((track.id, track) for track in page)
            before = page[-1].id
        now = [(track.id, track.last_at) for track in tracks.values()]
        before_now, groups = self._last
        if now != before_now:
            groups = self._grouped(tracks)
            self._last = now, groups
        return [_group([tracks[track] for track in own]) for own in groups]

    def _grouped(self, tracks: Collection[int]) -> list[list[int]]:
        store = self._service.store
        found = store.unknown_templates(min(tracks, default=0))
        kept = [(track, template) for track, template in found if track in tracks][-MOST:]
        if not kept:
            return []
        row_of = {track: row for row, (track, _) in enumerate(kept)}
        apart = {(row_of[one], row_of[other]) for one, other in store.together(row_of)}
        templates = [template for _, template in kept]
        vectors = np.stack([template.vector for template in templates])
        groups = group_tracks(vectors, same_thresholds(templates, self._service.matcher.calibration), apart)
        return [[kept[row][0] for row in rows] for rows in groups]


def known_by_now(service: Service, groups: Sequence[Group]) -> dict[int, str]:
    """Who groups would be named as now, as when somebody was enrolled after they were seen; by the first track's id.

    The best track of each group decides, by the thresholds of tracks.
    """
    firsts = [(group.tracks[0].id, service.store.template(group.tracks[0].id)) for group in groups]
    kept = [(track, template) for track, template in firsts if template is not None]
    if not kept:
        return {}
    matcher = service.matcher
    index = matcher.gallery.search_index()
    found = {}
    nearest = index.candidates(np.stack([template.vector for _, template in kept]), CANDIDATES)
    for (track, template), matches in zip(kept, nearest, strict=True):
        decision = decide_track(template, matches, matcher.calibration, index.population, matcher.fpir)
        if decision.name is not None:
            found[track] = decision.name
    return found


def check_unknown(service: Service, tracks: Sequence[int], who: str | None = None) -> None:
    """Refuses to name or ignore tracks that were unknown when the page was loaded, and are not any more.

    Args:
        service: Of which.
        tracks: Ids.
        who: Name or id that they may have by now, since they are to get it; None: they are to be ignored.

    Raises:
        Problem: The camera, or somebody in another browser, has named one of them otherwise meanwhile.
        LrfaceError: A file cannot be read.
    """
    person = None
    if who is not None:
        with suppress(Problem):  # a new name
            person = person_of(service, who).id
    for track in tracks:
        found = service.store.track(track)
        if found is not None and found.person not in (None, person):
            raise Problem(
                409,
                f"one of these pictures was named {found.name} meanwhile, so nothing was changed: load the page again "
                "(a wrong name is corrected on the page Who was here)",
            )


def _names(gallery: Gallery, actions: Sequence[StoredAction]) -> dict[str, str]:
    """Of the people in some actions who are enrolled, by id."""
    found = {}
    for person in {action.body["person"] for action in actions} - {None}:
        with suppress(GalleryError):  # removed meanwhile
            found[person] = gallery.person(person).name
    return found


def in_words(action: StoredAction, names: dict[str, str]) -> str:
    """What an action did.

    Args:
        action: As it is kept.
        names: Of the enrolled people, by id.
    """
    tracks = plural(len(action.body["tracks"]), "track")
    name = names.get(action.body.get("person") or "", "somebody who was removed")
    if action.kind == NAMED:
        learnt = len(action.body["photos"])
        learned = f"learned from {plural(learnt, 'picture')}" if learnt else "no picture kept"
        what = f"{tracks} named {name}; {learned}"
    elif action.kind == NOT_THIS_PERSON:
        what = f"{tracks} is not {name}: a face like it is not named so again"
    else:
        what = f"{tracks} ignored" if action.body.get("label") else f"{tracks} to be reviewed again"
    return f"Undone: {what}" if action.undone else what[0].upper() + what[1:]


def _group(tracks: Sequence[StoredTrack]) -> Group:
    ranked = sorted(tracks, key=lambda each: (not each.crops, -(each.quality or 0.0), -(each.native_px or 0.0)))
    cameras = name_list(sorted({track.camera for track in tracks}))
    return Group(tuple(ranked), max(0, len(ranked) - _SHOWN), cameras, max(track.last_at for track in tracks))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
