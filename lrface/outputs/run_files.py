"""The files of one run over a video: annotated video, JSON lines, events, timeline, contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from lrface.inputs.video import Frame, VideoSource
from lrface.outputs.annotate import draw
from lrface.outputs.contact_sheet import ContactSheet
from lrface.outputs.files import LINES
from lrface.outputs.records import frame_record
from lrface.outputs.sinks import JsonLines, VideoSink
from lrface.outputs.timeline import Timeline
from lrface.tracks.events import TrackEvent
from lrface.types import Identification

_LIVE_FPS = 10.0  # of the annotated video of a live source


class RunFiles:
    """The files of a run; a context manager.

    `annotated.mp4`, `identifications.jsonl` (frames with faces), `events.jsonl`, `timeline.png`, `contact-sheet.jpg`.

    Args:
        folder: Makes the folder, with the first frame: a source that gives none leaves nothing behind.
        source: Open.
    """

    def __init__(self, folder: Callable[[], Path], source: VideoSource) -> None:
        self._make_folder = folder
        self._folder: Path | None = None
        self._source = source
        self._stack = ExitStack()

    def __enter__(self) -> RunFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, frame: Frame, faces: Sequence[Identification]) -> None:
        """Adds a frame.

        Raises:
            LrfaceError: A file cannot be written.
        """
        self.write_carried(frame, faces)
        self._sheet.add(frame.image, faces, frame.time_s)
        self._timeline.add(faces, frame.time_s)
        if faces:
            self._lines.write(frame_record(self._source.name, frame.index, frame.time_s, faces))

    def write_carried(self, frame: Frame, faces: Sequence[Identification]) -> None:
        """Adds a frame in which faces were not searched for: to the video only.

        Raises:
            LrfaceError: The video cannot be written.
        """
        if self._folder is None:
            self._folder = self._make_folder()
            self._open(self._folder)
        self._video.write(draw(frame.image, faces), frame.time_s)

    def write_events(self, events: Sequence[TrackEvent]) -> None:
        """Adds events of tracks; those before the first frame are left out (there are none).

        Raises:
            LrfaceError: The file cannot be written.
        """
        if self._folder is not None:
            for event in events:
                self._events.write(event.to_dict())

    def written(self) -> list[Path]:
        """The files, complete once this is closed; none before the first frame."""
        return [path for path in self._paths if path.exists()] if self._folder else []

    def _open(self, folder: Path) -> None:
        source = self._source  # a live one knows its rate only now
        fps = min(source.fps or _LIVE_FPS, _LIVE_FPS) if source.live else (source.fps or 25.0) / source.stride
        video, lines, sheet = folder / "annotated.mp4", folder / LINES, folder / "contact-sheet.jpg"
        events, timeline = folder / "events.jsonl", folder / "timeline.png"
        self._paths = video, lines, events, timeline, sheet
        self._sheet = ContactSheet(sheet)
        self._stack.callback(self._sheet.close)
        self._timeline = Timeline(timeline)
        self._stack.callback(self._timeline.close)
        self._events = self._stack.enter_context(JsonLines(events))
        self._lines = self._stack.enter_context(JsonLines(lines))
        self._video = self._stack.enter_context(VideoSink(video, fps))
