"""A whole video or stream: identify in every frame, report who came into view, write what was seen."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lrface.inputs.video import Frame, VideoSource
from lrface.outputs.files import run_folder
from lrface.outputs.run_files import RunFiles
from lrface.types import Identification

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

SIGHTING_GAP_S = 2.0  # out of view for longer than this: the next time counts as a new sighting


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Somebody came into view.

    Attributes:
        frame: Number of the frame in its source, from 0.
        time_s: Seconds since the first frame.
        face: Name, similarity, box ... in that frame.
    """

    frame: int
    time_s: float
    face: Identification


@dataclass(slots=True)
class WatchReport:
    """What a run over a video saw.

    Attributes:
        frames: Frames in which faces were searched for.
        named: For each person, the number of frames in which that person was named.
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
        out: Folder in which a new one is made for this run (`run-0001`, `run-0002` ...), with `annotated.mp4`,
            `identifications.jsonl` (frames with faces) and `contact-sheet.jpg`. It is made with the first frame.
        on_sighting: Called when a person, or a stranger, comes into view. All strangers count as one.
        on_frame: Called with each frame and its identifications.
        progress: Shows a progress bar on stderr.

    Raises:
        VideoError: The source cannot be read.
        LrfaceError: A file in `out` cannot be written.
    """
    from tqdm import tqdm

    report = WatchReport()
    total = None if source.frame_count is None else math.ceil(source.frame_count / source.stride)
    last_seen: dict[str | None, float] = {}
    with ExitStack() as stack:
        files = stack.enter_context(RunFiles(partial(run_folder, out), source)) if out is not None else None
        bar = stack.enter_context(
            tqdm(source, total=total, unit=" frames", disable=not progress, leave=False, dynamic_ncols=True)
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
                    on_sighting(Sighting(frame.index, frame.time_s, face))
            if on_frame is not None:
                on_frame(frame, faces)
            if files is not None:
                files.write(frame, faces)
    if files is not None:
        report.written = files.written()
    return report
