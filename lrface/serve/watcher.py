"""Runs the cameras in a thread beside the service, and starts them again after a fault or with other settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lrface.cameras.config import Camera, Settings
from lrface.cameras.receivers import Receivers, open_receivers
from lrface.cameras.running import follower_of, watch_cameras
from lrface.cameras.zones import Zone
from lrface.errors import LrfaceError
from lrface.inputs.capture import Capture
from lrface.inputs.live import StreamEventKind
from lrface.inputs.video import StreamEvent
from lrface.serve.instep import OUTBOX, forget_waiting
from lrface.serve.recording import RecordingFollower
from lrface.tracks.strangers import DEFAULT_RETENTION_S, Strangers

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher
    from lrface.serve.live import LatestFrames
    from lrface.serve.store import ServiceStore

_PAUSES_S = (1.0, 2.0, 5.0, 15.0, 60.0)
_ENDING_S = 20.0
_log = logging.getLogger("lrface.serve")


@dataclass(frozen=True, slots=True)
class WatcherState:
    """Whether the cameras are watched.

    Attributes:
        running: The thread works.
        ended: Every source has ended, as video files do.
        error: Why the last run failed; None while nothing did.
        waiting: Events that wait for each receiver.
    """

    running: bool
    ended: bool
    error: str | None
    waiting: Mapping[str, int]


class Watcher:
    """Watches cameras in a thread.

    Args:
        matcher: Open; the service's.
        settings: What the file of cameras says.
        store: Where events and tracks go.
        frames: Where frames go.
        keep_unknown: Whether templates and crops of strangers may be kept at this moment.
        open_capture: See VideoSource.
    """

    def __init__(
        self,
        matcher: FaceMatcher,
        settings: Settings,
        store: ServiceStore,
        frames: LatestFrames,
        *,
        keep_unknown: Callable[[], bool] = lambda: True,
        open_capture: Callable[[str | int], Capture] | None = None,
    ) -> None:
        self._matcher, self._settings, self._store, self._frames = matcher, settings, store, frames
        self._keep_unknown, self._open_capture = keep_unknown, open_capture
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._receivers: Receivers | None = None
        self._error: str | None = None
        self._ended = False
        self._opening = threading.Lock()  # held while the outbox is opened and closed
        store.set_setting(OUTBOX, str(settings.outbox.absolute()))

    def start(self) -> None:
        """Starts watching."""
        with self._lock:
            self._stop = threading.Event()
            self._ended = False
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="lrface-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends tracks, stores their events, releases the cameras."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            thread.join(_ENDING_S)

    def restart(self) -> None:
        """Begins again, with the zones as they are chosen by now."""
        self.stop()
        self.start()

    def forget_person(self, person: str) -> None:
        """Erases what waits for receivers of a person who was removed.

        Raises:
            LrfaceError: The outbox cannot be written.
        """
        with self._opening:
            receivers = self._receivers
            if receivers is None or not receivers.sinks.forget_person(person):
                forget_waiting(self._store, person)

    @property
    def state(self) -> WatcherState:
        """Whether the cameras are watched."""
        thread, receivers = self._thread, self._receivers
        waiting = {} if receivers is None else receivers.sinks.waiting()
        return WatcherState(thread is not None and thread.is_alive(), self._ended, self._error, waiting)

    def cameras(self) -> list[Camera]:
        """The cameras, with the zones that were drawn in the console instead of those in the file."""
        return [with_chosen_zones(camera, self._store) for camera in self._settings.cameras]

    def choose_zones(self, camera: str, zones: Mapping[str, Any] | None) -> None:
        """Keeps zones and masks for a camera instead of those in the file, and begins to watch again with them.

        Args:
            camera: Its name.
            zones: Lists "zones" and "masks", each entry with "name", "polygon" and "min_face"; None: as in the file.
        """
        self._matcher.gallery.log("zones of a camera changed", camera)
        self._store.set_setting(f"zones {camera}", zones)
        self.restart()

    def _run(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                self._watch(stop)
                self._ended = not stop.is_set()
                return
            except LrfaceError as error:
                self._error = str(error)
            except Exception as error:  # a fault of ours: it must be seen, and the cameras must be watched again
                self._error = f"watching failed ({type(error).__name__}): report it"
                _log.exception("watching failed")
            for camera in self._frames.names:
                self._frames.tell(camera, False, "not watched at the moment")
            pause = _PAUSES_S[min(failures, len(_PAUSES_S) - 1)]
            failures += 1
            _log.warning("cameras are not watched: %s; trying again in %.0f s", self._error, pause)
            stop.wait(pause)

    def _watch(self, stop: threading.Event) -> None:
        strangers, recorders = Strangers(DEFAULT_RETENTION_S), dict[str, RecordingFollower]()

        def tracking(camera: Camera) -> RecordingFollower:
            recorders[camera.name] = RecordingFollower(
                camera.name,
                follower_of(self._matcher, camera, strangers),
                self._store,
                self._frames,
                self._keep_unknown,
            )
            return recorders[camera.name]

        def told(records: Sequence[Mapping[str, Any]]) -> None:
            self._error = None
            self._store.add_events(
                records, {key: track for each in recorders.values() for key, track in each.ids.items()}
            )

        with self._opening:
            self._receivers = receivers = open_receivers(self._settings, _log.warning)

        def stream_event(camera: Camera, event: StreamEvent) -> None:
            answers = event.kind == StreamEventKind.CONNECTED
            _log.info("%s: %s", camera.name, event.message)
            if answers:
                self._error = None
            self._frames.tell(camera.name, answers, _without_source(event.message))
            receivers.camera_answers(camera.name, answers)

        try:
            reports = watch_cameras(
                self._matcher,
                self.cameras(),
                sinks=receivers.sinks,
                tracking=tracking,
                on_events=told,
                on_stream_event=stream_event,
                open_capture=self._open_capture,
                stop=stop,
            )
        finally:
            with self._opening:
                self._receivers = None
                receivers.sinks.close()
        for report in reports:
            why = "the source has ended" if report.error is None else _without_source(str(report.error))
            self._frames.tell(report.camera, False, why)


def _without_source(message: str) -> str:
    """What happened to a camera, without the URL or path of its source in front: viewers see the camera's name."""
    return message.partition(": ")[2] or message


def with_chosen_zones(camera: Camera, store: ServiceStore) -> Camera:
    """A camera with the zones and masks that were chosen in the console, if any were."""
    chosen = store.setting(f"zones {camera.name}")
    if chosen is None:
        return camera
    made = {
        kind: tuple(
            Zone(each["name"], tuple((float(x), float(y)) for x, y in each["polygon"]), float(each.get("min_face", 0)))
            for each in chosen[kind]
        )
        for kind in ("zones", "masks")
    }
    return replace(camera, zones=made["zones"], masks=made["masks"])
