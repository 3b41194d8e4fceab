"""`lrface demo`: a surveillance clip of its own, run through the same public calls that a user makes.

Nothing is downloaded: the two portraits are public-domain pictures (NASA, US Navy) inside scikit-image and matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrface.cli.demo_scene import COLLINS, FRAMES, HEIGHT, HOPPER, LARGEST_PX, SMALLEST_PX, WIDTH, render, write_clip
from lrface.errors import LrfaceError
from lrface.inputs.video import Frame, VideoSource
from lrface.outputs.files import run_folder
from lrface.outputs.run_files import RunFiles
from lrface.types import Box, Identification, ImageArray
from lrface.watching import watch

_SIZES = ((0, 24), (24, 32), (32, 1000))  # height of the face in the frame, px
_COLUMNS = {"shown": "shown", "found": "found", "right": "named rightly", "wrong": "named wrongly"}
MAX_MISNAMED = 0.02  # of the frames; above, the demo has failed


@dataclass(slots=True)
class Tally:
    """How often one of the two people was in the clip, found, named rightly, named wrongly."""

    shown: int = 0
    found: int = 0
    right: int = 0
    wrong: int = 0


@dataclass(slots=True)
class DemoReport:
    """What the demo measured, from the known places of the faces.

    Attributes:
        enrolled: The enrolled person, by size of the face in the frame.
        stranger: The other one; `right` stays 0, any name is wrong.
        false_alarms: Detections where nobody is.
    """

    enrolled: dict[tuple[int, int], Tally] = field(default_factory=lambda: {size: Tally() for size in _SIZES})
    stranger: dict[tuple[int, int], Tally] = field(default_factory=lambda: {size: Tally() for size in _SIZES})
    false_alarms: int = 0

    def add(self, places: tuple[Box, Box], faces: Sequence[Identification]) -> None:
        """Compares one frame's identifications with the places (enrolled person, stranger) of its faces."""
        left = list(faces)
        for place, tallies, name in zip(places, (self.enrolled, self.stranger), (COLLINS.name, None), strict=True):
            height = place[3] - place[1]
            tally = next(tally for (low, high), tally in tallies.items() if low <= height < high)
            tally.shown += 1
            face = next((face for face in left if _inside(face.box, place)), None)
            if face is None:
                continue
            left.remove(face)
            tally.found += 1
            tally.right += name is not None and face.name == name
            tally.wrong += face.name is not None and face.name != name
        self.false_alarms += len(left)

    def total(self, tallies: dict[tuple[int, int], Tally]) -> Tally:
        """The sum over all sizes."""
        return Tally(*(sum(getattr(tally, column) for tally in tallies.values()) for column in _COLUMNS))

    def table(self) -> str:
        """The counts, by size of the face."""
        rows = ["frames with a face of      16-24   24-32   32-48 px high    all"]
        for who, tallies in ((f"{COLLINS.name}, enrolled", self.enrolled), (f"{HOPPER.name}, stranger", self.stranger)):
            rows.append(who)
            for column, title in _COLUMNS.items():
                if column == "right" and tallies is self.stranger:
                    continue
                values = [getattr(tally, column) for tally in (*tallies.values(), self.total(tallies))]
                rows.append(f"  {title:<22}{values[0]:>8}{values[1]:>8}{values[2]:>8}{values[3]:>15}")
        return "\n".join(rows)


def run(out: Path, tell: Callable[[str], object]) -> DemoReport:
    """Makes the clip, enrols one person from one ordinary photo, identifies both people, prints the result.

    Args:
        out: Folder in which a new one is made for the clip, the gallery and the results.
        tell: Called with each line for the user.

    Raises:
        LrfaceError: The `demo` extra or a model is missing, a file cannot be written, or the models did not tell the
            two people apart.
    """
    import sys

    from lrface.matcher import FaceMatcher

    photo, _ = COLLINS.file(), HOPPER.file()
    folder = run_folder(out)
    clip, gallery = folder / "clip.avi", folder / "demo.gallery"
    places: list[tuple[Box, Box]] = []
    tell(
        f"Drawing {clip}: {FRAMES} frames of {WIDTH}x{HEIGHT}, faces {SMALLEST_PX} to {LARGEST_PX} px high, noise, JPEG"
    )
    write_clip(clip, _keeping_places(places))

    with FaceMatcher.open(gallery) as matcher:
        matcher.enroll(COLLINS.name, photo)
        tell(f"Enrolled {COLLINS.name} from one photo ({photo.name}); {HOPPER.name} is the stranger")
        report = DemoReport()
        with VideoSource(clip) as video, RunFiles(lambda: folder, video) as files:

            def add(frame: Frame, faces: list[Identification]) -> None:
                report.add(places[frame.index], faces)
                files.write(frame, faces)

            watch(matcher, video, on_frame=add, progress=sys.stderr.isatty())
        for line in report.table().splitlines():
            tell(line)
        for path in files.written():
            tell(f"wrote {path}")
    _judge(report, tell)
    tell("The clip was drawn from the same photo that was enrolled: with other photos of a person expect fewer names")
    tell("The same for your own people (people/<name>/*.jpg) and your own clip or camera:")
    tell("  lrface enroll my.gallery people/ && lrface watch my.gallery clip.mp4 --out seen/")
    return report


def _keeping_places(places: list[tuple[Box, Box]]) -> Iterator[ImageArray]:
    for image, boxes in render((COLLINS, HOPPER)):
        places.append(boxes)
        yield image


def _judge(report: DemoReport, tell: Callable[[str], object]) -> None:
    enrolled, stranger = report.total(report.enrolled), report.total(report.stranger)
    share = 100 * enrolled.right / max(1, enrolled.shown)
    tell(f"{COLLINS.name}: identified in {enrolled.right} of {enrolled.shown} frames ({share:.0f} %)")
    but = f", but named wrongly in {stranger.wrong} of {stranger.shown} frames" if stranger.wrong else ""
    tell(f"The stranger: unknown{but}")
    if not enrolled.right or stranger.wrong > MAX_MISNAMED * stranger.shown:
        raise LrfaceError("the models did not tell the two people apart: run `lrface doctor`")


def _inside(box: Box, place: Box) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return place[0] < x < place[2] and place[1] < y < place[3]
