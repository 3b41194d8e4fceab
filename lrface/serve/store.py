"""Events and tracks of the service, in a SQLite file for its owner only; what is too old is deleted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lrface.gallery.ciphers import Cipher
from lrface.outputs.records import json_line
from lrface.serve.servicefile import ServiceFile
from lrface.serve.trackrecords import Crop, StoredAction, StoredEvent, StoredTrack, pack_template, unpack_template
from lrface.tracks.template import TrackTemplate

DAY_S = 86_400.0
MOST = 500
"""Rows of one page."""

_TRACK = (
    "id, camera, number, first_at, last_at, open, person, unseal_text(name), similarity, threshold, reason, unknown, "
    "quality, native_px, views, label, (SELECT count(*) FROM crop WHERE crop.track = track.id)"
)

_NAMED = (
    "person = ?1, name = seal(?2), "
    "body = seal(json_set(unseal_text(body), '$.name', CAST(?2 AS TEXT), '$.person', CAST(?1 AS TEXT)))"
)
_ASSIGNED = {
    "person": "CASE WHEN said THEN person ELSE ? END",  # what somebody has said stays
    "name": "CASE WHEN said THEN name ELSE seal(?) END",
    "template": "seal(?)",
}


class ServiceStore(ServiceFile):
    """The service's own file. Safe to use from several threads, by one process at a time.

    Args:
        path: Made, for its owner only, where there is none.
        clock: Seconds since 1970.
        cipher: The gallery's, which encrypts what is kept of people; None: nothing is encrypted.

    Raises:
        FileInUseError: Another process uses it.
        LrfaceError: The file is something else, was encrypted with another key, or cannot be written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, cipher: Cipher | None = None) -> None:
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self._changed: dict[str, tuple[str | None, str | None]] = {}  # people, and who they are by now
        super().__init__(path, cipher)

    def on_events(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Has a function called, in the writing thread, when there are new events; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- events

    def add_events(self, records: Sequence[Mapping[str, Any]], tracks: Mapping[tuple[str, int], int]) -> None:
        """Stores events; they are in the file when this returns.

        Args:
            records: As `TrackEvent.to_dict` gives them, each with an `id`.
            tracks: Ids of tracks in the store, by camera and number.
        """
        now = self._clock()
        with self._transaction() as database:
            rows = []
            for record in records:
                person, name = self._by_now(record["person"], record["name"])
                camera, body = record["camera"] or "", json_line({**record, "person": person, "name": name})
                track = tracks.get((camera, record["track"]))
                rows.append((record["id"], now, camera, track, record["event"], person, name, body))
            database.executemany(
                "INSERT OR IGNORE INTO event (id, at, camera, track, kind, person, name, body) "
                "VALUES (?, ?, ?, ?, ?, ?, seal(?), seal(?))",
                rows,
            )
        for listener in tuple(self._listeners):
            listener()

    def events(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        since: float | None = None,
        until: float | None = None,
        camera: str | None = None,
        person: str | None = None,
        kind: str | None = None,
        unknown: bool = False,
        limit: int = 100,
    ) -> list[StoredEvent]:
        """A page of events: the newest first; with `after`, the oldest first.

        Args:
            after: Only those with a higher `seq`.
            before: Only those with a lower `seq`.
            since: From this time on, seconds since 1970.
            until: Before this time.
            camera: Of this camera.
            person: Of this person, by UUID.
            kind: "appeared", "identified", "revised" or "left".
            unknown: Only those without a name.
            limit: At most so many, 1 to `MOST`.
        """
        asked = (("seq > ?", after), ("seq < ?", before), ("at >= ?", since), ("at < ?", until), ("camera = ?", camera),
                 ("person = ?", person), ("kind = ?", kind))  # fmt: skip
        where, values = _where(asked, ("person IS NULL",) if unknown else ())
        order = "DESC" if after is None else "ASC"
        query = f"SELECT seq, at, track, unseal_text(body) FROM event {where} ORDER BY seq {order} LIMIT ?"
        rows = self._rows(query, (*values, max(1, min(limit, MOST))))
        return [StoredEvent(seq, at, track, msgspec.json.decode(body)) for seq, at, track, body in rows]

    def last_event(self) -> int:
        """The highest `seq`; 0 before the first event."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM event")[0][0])

    # -- tracks

    def begin_track(self, camera: str, number: int, first_at: float, last_at: float) -> int:
        """Stores a new track; returns its id."""
        with self._transaction() as database:
            added = database.execute(
                "INSERT INTO track (camera, number, first_at, last_at, open) VALUES (?, ?, ?, ?, 1)",
                (camera, number, first_at, last_at),
            )
        return int(added.lastrowid or 0)

    def update_track(
        self,
        track: int,
        changes: Mapping[str, Any],
        template: TrackTemplate | None = None,
        crops: Sequence[Crop] | None = None,
        together: Iterable[int] = (),
    ) -> None:
        """Stores what is new of a track. One that was deleted meanwhile stays so.

        Args:
            track: Its id.
            changes: Columns: last_at, open, person, name, similarity, threshold, reason, unknown, quality, native_px,
                views, label.
            template: Of its views; None: as it was.
            crops: Its best crops, best first; None: as they were.
            together: Ids of tracks that were seen in one frame with it.
        """
        values: dict[str, Any] = dict(changes)
        if template is not None:
            values["template"] = pack_template(template)
        with self._transaction() as database:
            if "person" in values:
                values["person"], values["name"] = self._by_now(values["person"], values["name"])
            # the id is assigned, too, so that there is something to assign
            columns = ", ".join(f"{name} = {_ASSIGNED.get(name, '?')}" for name in ("id", *values))
            done = database.execute(f"UPDATE track SET {columns} WHERE id = ?", (track, *values.values(), track))
            if not done.rowcount:
                return
            if crops is not None:
                database.execute("DELETE FROM crop WHERE track = ?", (track,))
                rows = [(track, i, each.quality, each.native_px, each.at, each.jpeg) for i, each in enumerate(crops)]
                database.executemany("INSERT INTO crop VALUES (?, ?, ?, ?, ?, seal(?))", rows)
            pairs = [(min(track, other), max(track, other), other) for other in together if other != track]
            database.executemany(
                "INSERT OR IGNORE INTO together SELECT ?, ? WHERE EXISTS (SELECT 1 FROM track WHERE id = ?)", pairs
            )

    def tracks(
        self,
        *,
        before: int | None = None,
        since: float | None = None,
        until: float | None = None,
        camera: str | None = None,
        person: str | None = None,
        unknown: bool = False,
        label: str | None = None,
        limit: int = 100,
    ) -> list[StoredTrack]:
        """A page of tracks, the newest first.

        Args:
            before: Only those with a lower id.
            since: Seen at this time or later, seconds since 1970.
            until: Begun before this time.
            camera: Of this camera.
            person: Of this person, by UUID.
            unknown: Only those without a name and without a label.
            label: Only those with this label.
            limit: At most so many, 1 to `MOST`.
        """
        asked = (("id < ?", before), ("last_at >= ?", since), ("first_at < ?", until), ("camera = ?", camera),
                 ("person = ?", person), ("label = ?", label))  # fmt: skip
        where, values = _where(asked, ("person IS NULL AND label IS NULL",) if unknown else ())
        rows = self._rows(
            f"SELECT {_TRACK} FROM track {where} ORDER BY id DESC LIMIT ?", (*values, max(1, min(limit, MOST)))
        )
        return [_track(row) for row in rows]

    def track(self, track: int) -> StoredTrack | None:
        """One track; None where there is none."""
        rows = self._rows(f"SELECT {_TRACK} FROM track WHERE id = ?", (track,))
        return _track(rows[0]) if rows else None

    def template(self, track: int) -> TrackTemplate | None:
        """The template of a track; None where none is kept."""
        rows = self._rows("SELECT unseal(template) FROM track WHERE id = ? AND template IS NOT NULL", (track,))
        return unpack_template(rows[0][0]) if rows else None

    def unknown_templates(self, first: int = 0) -> list[tuple[int, TrackTemplate]]:
        """Ids and templates of the tracks without a name, from an id on, the oldest first."""
        query = (
            "SELECT id, unseal(template) FROM track WHERE person IS NULL AND template IS NOT NULL AND id >= ? "
            "ORDER BY id"
        )
        return [(track, unpack_template(data)) for track, data in self._rows(query, (first,))]

    def crop(self, track: int, rank: int = 0) -> Crop | None:
        """A crop of a track, 0 for the best one; None where there is none."""
        query = "SELECT unseal(jpeg), quality, native_px, at FROM crop WHERE track = ? AND rank = ?"
        rows = self._rows(query, (track, rank))
        return Crop(*rows[0]) if rows else None

    def together(self, tracks: Iterable[int] | None = None) -> set[tuple[int, int]]:
        """Pairs of tracks that were seen in one frame, so that they are different people; the lower id first."""
        pairs = {(one, other) for one, other in self._rows("SELECT one, other FROM together")}
        if tracks is None:
            return pairs
        wanted = set(tracks)
        return {pair for pair in pairs if pair[0] in wanted and pair[1] in wanted}

    def set_name(self, tracks: Sequence[int], person: str | None, name: str | None, said: bool = True) -> None:
        """Gives tracks, and what was told of them, a person or none.

        Args:
            tracks: Ids.
            person: UUID, or None.
            name: Of the person, or None.
            said: Whether somebody has said so: what the cameras see of the track later does not change it.
        """
        with self._transaction() as database:
            for track in tracks:
                database.execute(
                    "UPDATE track SET person = ?, name = seal(?), said = ? WHERE id = ?", (person, name, said, track)
                )
                database.execute(f"UPDATE event SET {_NAMED} WHERE track = ?3", (person, name, track))

    def set_label(self, tracks: Sequence[int], label: str | None) -> None:
        """Labels tracks ("ignored"), or takes the label away."""
        with self._transaction() as database:
            database.executemany("UPDATE track SET label = ? WHERE id = ?", [(label, track) for track in tracks])

    # -- actions

    def add_action(self, actor: str, kind: str, body: Mapping[str, Any]) -> StoredAction:
        """Keeps what somebody did, so that it can be undone."""
        now, text = self._clock(), json_line(body)
        with self._transaction() as database:
            added = database.execute(
                "INSERT INTO action (at, actor, kind, body) VALUES (?, ?, ?, seal(?))", (now, actor, kind, text)
            )
        return StoredAction(int(added.lastrowid or 0), now, actor, kind, dict(body), False)

    def actions(self, limit: int = 100) -> list[StoredAction]:
        """What was done, the newest first."""
        return self._actions("ORDER BY id DESC LIMIT ?", (max(1, min(limit, MOST)),))

    def action(self, action: int) -> StoredAction | None:
        """One action; None where there is none."""
        found = self._actions("WHERE id = ?", (action,))
        return found[0] if found else None

    def mark_undone(self, action: int, body: Mapping[str, Any]) -> None:
        """Takes note that an action was undone, and of what is left of it."""
        with self._transaction() as database:
            database.execute("UPDATE action SET undone = 1, body = seal(?) WHERE id = ?", (json_line(body), action))

    def _actions(self, rest: str, values: Sequence[Any]) -> list[StoredAction]:
        rows = self._rows(f"SELECT id, at, actor, kind, unseal_text(body), undone FROM action {rest}", values)
        return [
            StoredAction(number, at, who, kind, msgspec.json.decode(body), bool(undone))
            for number, at, who, kind, body, undone in rows
        ]

    # -- sessions

    def sessions(self) -> list[tuple[bytes, str, str, float, float]]:
        """Sessions of the console: hash of the cookie, user, mark of the password, when it began and was used last."""
        return [tuple(row) for row in self._rows("SELECT digest, user, mark, began, used FROM session ORDER BY began")]

    def keep_session(self, digest: bytes, user: str, mark: str, began: float, used: float) -> None:
        """Keeps a session, or that it was used."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?)", (digest, user, mark, began, used))

    def drop_sessions(self, digests: Iterable[bytes]) -> None:
        """Forgets sessions."""
        with self._transaction() as database:
            database.executemany("DELETE FROM session WHERE digest = ?", [(digest,) for digest in digests])

    # -- people, retention

    def rename_person(self, person: str, name: str) -> None:
        """Gives tracks and events of a person the new name, also those that are being written."""
        self.move_person(person, person, name)

    def move_person(self, person: str, into: str | None, name: str | None) -> None:
        """Gives tracks and events of a person to another one, when two entries are merged; None: to nobody."""
        with self._transaction() as database:
            self._changed[person] = into, name
            database.execute("UPDATE track SET person = ?, name = seal(?) WHERE person = ?", (into, name, person))
            database.execute(f"UPDATE event SET {_NAMED} WHERE person = ?3", (into, name, person))
            self._rename_in_actions(database, person, into, name)

    def forget_person(self, person: str) -> int:
        """Deletes tracks, crops and events of a person who was removed; the bytes are overwritten.

        What somebody did with a track that had this person's name before can still be undone: to a track of nobody.

        Returns:
            How many tracks and events there were.
        """
        with self._transaction() as database:
            self._changed[person] = None, None
            gone = database.execute("DELETE FROM track WHERE person = ?", (person,)).rowcount
            gone += database.execute("DELETE FROM event WHERE person = ?", (person,)).rowcount
            database.execute("DELETE FROM action WHERE json_extract(unseal_text(body), '$.person') = ?", (person,))
            self._rename_in_actions(database, person, None, None)
        self._checkpoint()
        return gone

    def _rename_in_actions(self, database: sqlite3.Connection, person: str, into: str | None, name: str | None) -> None:
        """Whose the tracks were before an action, by now: undoing it must not bring back somebody who is gone."""
        query = "SELECT id, unseal_text(body) FROM action WHERE instr(unseal_text(body), ?)"
        for action, text in database.execute(query, (person,)).fetchall():
            body = msgspec.json.decode(text)
            for track in body["tracks"]:
                if track.get("person") == person:
                    track.update(person=into, name=name)
            database.execute("UPDATE action SET body = seal(?) WHERE id = ?", (json_line(body), action))

    def _by_now(self, person: str | None, name: str | None) -> tuple[str | None, str | None]:
        """Who a person is after changes that the cameras may not have seen yet when they decided."""
        for _ in self._changed:  # one was merged into another, who was renamed
            if person is None or person not in self._changed or (person, name) == self._changed[person]:
                break
            person, name = self._changed[person]
        return person, name

    def expire(self, known_days: float, unknown_days: float) -> int:
        """Deletes what is older: events and named tracks, tracks of strangers. Returns how many tracks went."""
        now = self._clock()
        with self._transaction() as database:
            gone = database.execute(
                "DELETE FROM track WHERE open = 0 AND ((person IS NOT NULL AND last_at < ?) OR "
                "(person IS NULL AND last_at < ?))",
                (now - known_days * DAY_S, now - unknown_days * DAY_S),
            ).rowcount
            database.execute("DELETE FROM event WHERE at < ?", (now - known_days * DAY_S,))
            database.execute("DELETE FROM action WHERE at < ?", (now - known_days * DAY_S,))
        if gone:
            self._checkpoint()
        return gone


def _where(asked: Iterable[tuple[str, Any]], more: Sequence[str] = ()) -> tuple[str, list[Any]]:
    given = [(text, value) for text, value in asked if value is not None]
    parts = [*(text for text, _ in given), *more]
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), [value for _, value in given]


def _track(row: Sequence[Any]) -> StoredTrack:
    values = list(row)
    values[5] = bool(row[5])
    return StoredTrack(*values)
