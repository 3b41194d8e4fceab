"""One thread for each camera: it reads and keeps what is to be looked at next, so that no camera waits for another."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lrface.cameras.config import Camera
from lrface.errors import LrfaceError, VideoError
from lrface.inputs.capture import Capture
from lrface.inputs.live import StreamEventKind
from lrface.inputs.video import Frame, StreamEvent, VideoSource
from lrface.tracks.detection_pace import DetectionPace


class CameraReader:
    """Reads one camera in a thread.

    Of a live source the newest frame is kept; a file, or a URL with `every_frame`, waits until each frame was taken.

    Args:
        camera: Which.
        news: Notified when there is a frame, or the source has ended.
        report: Called with what happens to the source, in the reading thread.
        open_capture: See VideoSource.

    Attributes:
        camera: Which.
        error: Why it ended, where it could not be read.
        answers: Whether the source gives frames now.
    """

    def __init__(
        self,
        camera: Camera,
        news: threading.Condition,
        report: Callable[[Camera, StreamEvent], None],
        open_capture: Callable[[str | int], Capture] | None = None,
    ) -> None:
        self.camera = camera
        self.error: VideoError | None = None
        self.answers = False
        self._news, self._report, self._open_capture = news, report, open_capture
        self._pace = DetectionPace(camera.detect_every, live=camera.live)
        self._frame: Frame | None = None
        self._closed = self._finished = False
        self._source: VideoSource | None = None
        self._thread = threading.Thread(target=self._run, name=f"lrface-{camera.name}"[:15], daemon=True)

    @property
    def ended(self) -> bool:
        """Whether there will be no further frame."""
        return self._finished and self._frame is None

    def start(self) -> None:
        """Starts reading."""
        self._thread.start()

    def take(self) -> Frame | None:
        """The frame that is to be looked at next, or None; called with `news` held."""
        frame, self._frame = self._frame, None
        if frame is not None:
            self._news.notify_all()
        return frame if frame is not None and self._pace.due(frame) else None

    def took(self, seconds: float) -> None:
        """Takes note of how long the frames that were taken together took."""
        self._pace.took(seconds)

    def stop(self) -> None:
        """Asks the thread to end."""
        with self._news:
            self._closed = True
            source = self._source
            self._news.notify_all()
        if source is not None and source.live:  # a file is released by its own thread
            source.close()

    def join(self, timeout_s: float) -> None:
        """Waits until the camera is released; if its driver hangs, the wait ends."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._read()
        except VideoError as error:
            self.error = error
        except LrfaceError as error:
            self.error = VideoError(str(error))
        except Exception as error:  # a fault of ours must not look like a camera that is quiet; it may hold the URL
            self.error = VideoError(f"{self.camera.name}: reading failed ({type(error).__name__}): report it")
        finally:
            with self._news:
                self._finished, self.answers = True, False
                self._news.notify_all()

    def _read(self) -> None:
        camera = self.camera
        source = VideoSource(
            camera.source,
            live=False if camera.every_frame else None,
            patient=True,
            aspect=camera.aspect,
            rotate=camera.rotate,
            stall_s=camera.stall_s,
            on_event=self._told,
            open_capture=self._open_capture,
        )
        with self._news:
            self._source, closed = source, self._closed
        with source:
            if closed:
                return
            for frame in source:
                with self._news:
                    while not source.live and self._frame is not None and not self._closed:
                        self._news.wait(1.0)
                    if self._closed:
                        return
                    self._frame, self.answers = frame, True
                    self._news.notify_all()

    def _told(self, event: StreamEvent) -> None:
        self.answers = event.kind == StreamEventKind.CONNECTED
        self._report(self.camera, event)
