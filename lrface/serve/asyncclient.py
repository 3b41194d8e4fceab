"""The client for asyncio. Made of `client.py` by tests/helpers/make_client.py: change that."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx

from lrface.serve import shapes
from lrface.serve.clienttransport import (
    Asked,
    EventLines,
    PictureFile,
    answered,
    connection,
    many,
    no_answer,
    problem_of,
)

T = TypeVar("T")


class AsyncClient:
    """Speaks to a service. A context manager.

        async with AsyncClient("http://127.0.0.1:8480", token) as service:
            for face in (await service.identify("frame.jpg")).faces:
                print(face.name, face.similarity)

    Each method is one entry of /v1/openapi.json, with the same name, and answers its type (`lrface.serve.shapes`).
    Wherever a person is asked for, the name or the id does.

    Args:
        url: Of the service.
        token: As the first start, or `lrface access add`, printed it.
        timeout_s: Seconds to wait for an answer.
        ca_file: PEM file of the certificate that signed the service's own; None: those of the system.

    Raises:
        ArgumentError: The URL or the token cannot be used.
    """

    def __init__(
        self, url: str, token: str, *, timeout_s: float = 60.0, ca_file: str | os.PathLike[str] | None = None
    ) -> None:
        self.url = url
        self._http = httpx.AsyncClient(**connection(url, token, timeout_s, ca_file))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def identify(self, picture: PictureFile, *, explain: bool = False) -> shapes.FacesOut:
        """Finds every face of a picture and says who it is."""
        asked = Asked("POST", "/v1/identify", {"explain": explain}, files=[("picture", picture)])
        return await self._ask(asked, shapes.FacesOut)

    async def verify(
        self, first: PictureFile, second: PictureFile, *, max_false_match_rate: float = 0.001
    ) -> shapes.VerificationOut:
        """Says whether two pictures show the same person."""
        files = [("first", first), ("second", second)]
        form = {"max_false_match_rate": max_false_match_rate}
        return await self._ask(Asked("POST", "/v1/verify", form=form, files=files), shapes.VerificationOut)

    async def people(self, *, after: str = "", search: str = "", limit: int = 100) -> shapes.PeopleOut:
        """A page of people, by name."""
        query = {"after": after, "search": search, "limit": limit}
        return await self._ask(Asked("GET", "/v1/people", query), shapes.PeopleOut)

    async def enrol(
        self, name: str, photos: PictureFile | Iterable[PictureFile], *, force: bool = False
    ) -> shapes.EnrolmentOut:
        """Enrols photos of somebody; says in which unknown tracks they were seen before."""
        form = {"name": name, "force": force}
        return await self._ask(
            Asked("POST", "/v1/people", form=form, files=many("photos", photos)), shapes.EnrolmentOut
        )

    async def person(self, person: str) -> shapes.PersonOut:
        """One person."""
        return await self._ask(Asked("GET", f"/v1/people/{_part(person)}"), shapes.PersonOut)

    async def change_person(self, person: str, changes: shapes.PersonPatch) -> shapes.PersonOut:
        """Renames a person; changes tags, groups, metadata, retention."""
        return await self._ask(Asked("PATCH", f"/v1/people/{_part(person)}", body=changes), shapes.PersonOut)

    async def remove_person(self, person: str) -> None:
        """Removes a person with every template, track and event."""
        return await self._ask(Asked("DELETE", f"/v1/people/{_part(person)}"), type(None))

    async def merge_person(self, person: str, into: str) -> shapes.PersonOut:
        """Moves everything of a person to another one: they are the same."""
        asked = Asked("POST", f"/v1/people/{_part(person)}/merge", body=shapes.MergeBody(into))
        return await self._ask(asked, shapes.PersonOut)

    async def photos(self, person: str) -> list[shapes.EnrolledPhotoOut]:
        """The enrolled photos of a person."""
        return await self._ask(Asked("GET", f"/v1/people/{_part(person)}/photos"), list[shapes.EnrolledPhotoOut])

    async def add_photos(
        self, person: str, photos: PictureFile | Iterable[PictureFile], *, force: bool = False
    ) -> shapes.EnrolmentOut:
        """Enrols more photos of a person."""
        path = f"/v1/people/{_part(person)}/photos"
        asked = Asked("POST", path, form={"force": force}, files=many("photos", photos))
        return await self._ask(asked, shapes.EnrolmentOut)

    async def remove_photo(self, person: str, sha256: str) -> None:
        """Removes one photo of a person."""
        return await self._ask(Asked("DELETE", f"/v1/people/{_part(person)}/photos/{_part(sha256)}"), type(None))

    async def seen_before(self, person: str) -> list[shapes.SeenBefore]:
        """The kept unknown tracks that look like a person."""
        return await self._ask(Asked("GET", f"/v1/people/{_part(person)}/seen-before"), list[shapes.SeenBefore])

    async def events(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        camera: str | None = None,
        person: str | None = None,
        kind: Literal["appeared", "identified", "revised", "left"] | None = None,
        unknown: bool = False,
        limit: int = 100,
    ) -> shapes.EventsOut:
        """A page of events: the newest first; with `after` (a `seq`) the oldest first."""
        query = {"after": after, "before": before, "since": since, "until": until, "camera": camera, "person": person,
                 "kind": kind, "unknown": unknown, "limit": limit}  # fmt: skip
        return await self._ask(Asked("GET", "/v1/events", query), shapes.EventsOut)

    async def stream(
        self, *, after: int | None = None, camera: str | None = None, person: str | None = None
    ) -> AsyncIterator[shapes.EventOut]:
        """Events as they happen, until the loop is left; `after` a `seq`, or from now on.

        Raises:
            ServiceError: The connection was lost: go on after the last `seq`.
        """
        lines = EventLines()
        asked = Asked("GET", "/v1/events/stream", {"after": after, "camera": camera, "person": person})
        try:
            async with self._http.stream(**asked.arguments(), timeout=httpx.Timeout(60.0)) as answer:
                if answer.status_code >= 400:
                    raise problem_of(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    if (event := lines.take(line)) is not None:
                        yield event
        except httpx.HTTPError as error:
            raise no_answer(error, self.url) from error

    async def tracks(
        self,
        *,
        before: int | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        camera: str | None = None,
        person: str | None = None,
        unknown: bool = False,
        label: Literal["ignored"] | None = None,
        limit: int = 100,
    ) -> shapes.TracksOut:
        """A page of tracks, the newest first."""
        query = {"before": before, "since": since, "until": until, "camera": camera, "person": person,
                 "unknown": unknown, "label": label, "limit": limit}  # fmt: skip
        return await self._ask(Asked("GET", "/v1/tracks", query), shapes.TracksOut)

    async def track(self, track: int) -> shapes.TrackOut:
        """One track."""
        return await self._ask(Asked("GET", f"/v1/tracks/{track:d}"), shapes.TrackOut)

    async def crop(self, track: int, *, rank: int = 0) -> bytes:
        """A crop of a track's face, 0 for the best one: a JPEG file."""
        return await self._ask(Asked("GET", f"/v1/tracks/{track:d}/crop.jpg", {"rank": rank}), bytes)

    async def name_tracks(self, tracks: Iterable[int], person: str, *, learn: bool = True) -> shapes.NamedOut:
        """Says who some tracks are; the gallery learns their best crops."""
        body = shapes.NameBody(list(tracks), person, learn)
        return await self._ask(Asked("POST", "/v1/tracks/name", body=body), shapes.NamedOut)

    async def not_this_person(self, track: int) -> shapes.ActionOut:
        """Says that a track was named wrongly; the gallery learns it."""
        return await self._ask(Asked("POST", f"/v1/tracks/{track:d}/not-this-person"), shapes.ActionOut)

    async def label_tracks(self, tracks: Iterable[int], label: Literal["ignored"] | None) -> shapes.ActionOut:
        """Leaves tracks out of the review, or takes them in again."""
        body = shapes.LabelBody(list(tracks), label)
        return await self._ask(Asked("POST", "/v1/tracks/label", body=body), shapes.ActionOut)

    async def actions(self, *, limit: int = 100) -> list[shapes.ActionOut]:
        """What was done with tracks, the newest first."""
        return await self._ask(Asked("GET", "/v1/actions", {"limit": limit}), list[shapes.ActionOut])

    async def undo(self, action: int) -> shapes.ActionOut:
        """Undoes an action; the gallery unlearns it."""
        return await self._ask(Asked("POST", f"/v1/actions/{action:d}/undo"), shapes.ActionOut)

    async def cameras(self) -> list[shapes.CameraOut]:
        """The cameras with their faces of this moment."""
        return await self._ask(Asked("GET", "/v1/cameras"), list[shapes.CameraOut])

    async def camera(self, camera: str) -> shapes.CameraOut:
        """One camera with its faces of this moment."""
        return await self._ask(Asked("GET", f"/v1/cameras/{_part(camera)}"), shapes.CameraOut)

    async def snapshot(self, camera: str, *, boxes: bool = True) -> bytes:
        """The latest frame of a camera: a JPEG file."""
        return await self._ask(Asked("GET", f"/v1/cameras/{_part(camera)}/snapshot.jpg", {"boxes": boxes}), bytes)

    async def zones(self, camera: str) -> shapes.ZonesOut:
        """Where in a camera's picture faces count."""
        return await self._ask(Asked("GET", f"/v1/cameras/{_part(camera)}/zones"), shapes.ZonesOut)

    async def change_zones(self, camera: str, zones: shapes.ZonesOut) -> shapes.ZonesOut:
        """Chooses where faces count; with `chosen` false: as the file of cameras says."""
        return await self._ask(Asked("PUT", f"/v1/cameras/{_part(camera)}/zones", body=zones), shapes.ZonesOut)

    async def health(self) -> shapes.HealthOut:
        """The process answers."""
        return await self._ask(Asked("GET", "/v1/health"), shapes.HealthOut)

    async def ready(self) -> shapes.ReadyOut:
        """Whether requests can be answered.

        Raises:
            ServiceError: They cannot (status 503).
        """
        return await self._ask(Asked("GET", "/v1/ready"), shapes.ReadyOut)

    async def metrics(self) -> str:
        """Metrics for Prometheus."""
        return await self._ask(Asked("GET", "/v1/metrics"), str)

    async def me(self) -> shapes.MeOut:
        """Whose token this is."""
        return await self._ask(Asked("GET", "/v1/me"), shapes.MeOut)

    async def settings(self) -> shapes.SettingsOut:
        """What was chosen."""
        return await self._ask(Asked("GET", "/v1/settings"), shapes.SettingsOut)

    async def change_settings(self, changes: shapes.SettingsPatch) -> shapes.SettingsOut:
        """Chooses fpir and retention anew."""
        return await self._ask(Asked("PATCH", "/v1/settings", body=changes), shapes.SettingsOut)

    async def audit(self, *, before: int | None = None, limit: int = 100) -> list[shapes.AuditOut]:
        """Who changed what in the gallery, the newest first."""
        return await self._ask(Asked("GET", "/v1/audit", {"before": before, "limit": limit}), list[shapes.AuditOut])

    async def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return await self._ask(Asked("GET", "/v1/openapi.json"), dict[str, Any])

    async def _ask(self, asked: Asked, kind: type[T]) -> T:
        try:
            answer = await self._http.request(**asked.arguments())
        except httpx.HTTPError as error:
            raise no_answer(error, self.url) from error
        return answered(answer, kind)


def _part(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")
