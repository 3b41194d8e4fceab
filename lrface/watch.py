"""A whole video or stream: identify in every frame, tell who came into view, write what was seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lrface.inputs.video import Frame, VideoSource
from lrface.outputs.annotate import draw
from lrface.outputs.contact_sheet import ContactSheet
from lrface.outputs.sinks import JsonLines, VideoSink, frame_record
from lrface.types import Identification

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

SIGHTING_GAP_S = 2.0  # out of view for longer: the next time is told as a new sighting
_LIVE_FPS = 10.0  # of the annotated video of a live source


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Somebody came into view.

    Attributes:
        time_s: Seconds since the first frame.
        face: Name, similarity, box ... in that frame.
    """

    time_s: float
    face: Identification


@dataclass(slots=True)
class WatchReport:
    """What a run over a video saw.

    Attributes:
        frames: Frames looked at.
        named: For each person, in how many frames he was named.
        unknown: Faces that stayed unknown.
        too_small: Faces too small to be embedded.
        written: Files written.
    """

    frames: int = 0
    named: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    too_small: int = 0
    written: list[Path] = field(default_factory=list)


def watch(
    matcher: FaceMatcher,
    source: VideoSource,
    *,
    out: str | os.PathLike[str] | None = None,
    on_sighting: Callable[[Sighting], None] | None = None,
    on_frame: Callable[[Frame, list[Identification]], None] | None = None,
    progress: bool = False,
) -> WatchReport:
    """Identifies in every frame of a source until it ends; the files are whole also when it is interrupted.

    Args:
        matcher: Open, with people enrolled.
        source: Open.
        out: Folder for `annotated.mp4`, `identifications.jsonl` (frames with faces) and `contact-sheet.jpg`.
        on_sighting: Called when a person, or a stranger, comes into view. Strangers are not told apart.
        on_frame: Called with each frame and its identifications.
        progress: Shows a progress bar on stderr.

    Raises:
        VideoError: The source cannot be read.
        LrfaceError: A file in `out` cannot be written.
    """
    from tqdm import tqdm

    report = WatchReport()
    last_seen: dict[str | None, float] = {}
    with ExitStack() as stack:
        sinks = stack.enter_context(_Outputs(Path(out), source)) if out is not None else None
        bar = stack.enter_context(
            tqdm(
                source, total=source.frame_count, unit=" frames", disable=not progress, leave=False, dynamic_ncols=True
            )
        )
        for frame in bar:
            faces = matcher.identify(frame.image)
            report.frames += 1
            for face in faces:
                if face.name is not None:
                    report.named[face.name] += 1
                elif len(face.embedding):
                    report.unknown += 1
                else:
                    report.too_small += 1
                    continue
                before = last_seen.get(face.name)
                last_seen[face.name] = frame.time_s
                if on_sighting is not None and (before is None or frame.time_s - before > SIGHTING_GAP_S):
                    on_sighting(Sighting(frame.time_s, face))
            if on_frame is not None:
                on_frame(frame, faces)
            if sinks is not None:
                sinks.write(frame, faces)
    if sinks is not None:
        report.written = [path for path in sinks.paths if path.exists()]
    return report


class _Outputs:
    """The three files of a run, opened and closed together."""

    def __init__(self, folder: Path, source: VideoSource) -> None:
        self.paths = [folder / "annotated.mp4", folder / "identifications.jsonl", folder / "contact-sheet.jpg"]
        self._source = source
        self._stack = ExitStack()
        self._video: VideoSink | None = None

    def __enter__(self) -> _Outputs:
        self._lines = self._stack.enter_context(JsonLines(self.paths[1]))
        self._sheet = ContactSheet(self.paths[2])
        self._stack.callback(self._sheet.close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, frame: Frame, faces: list[Identification]) -> None:
        if self._video is None:  # a live source knows its rate only now
            source = self._source
            fps = min(source.fps or _LIVE_FPS, _LIVE_FPS) if source.live else (source.fps or 25.0) / source.stride
            self._video = self._stack.enter_context(VideoSink(self.paths[0], fps))
        self._video.write(draw(frame.image, faces), frame.time_s)
        self._sheet.add(frame.image, faces, frame.time_s)
        if faces:
            self._lines.write(frame_record(self._source.name, frame.index, frame.time_s, faces))
