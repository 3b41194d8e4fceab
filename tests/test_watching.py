from __future__ import annotations

import json

import cv2
import pytest
from fakes import FakeCapture, picture
from tiny_models import open_matcher, portrait, scene, write_models

from lrface.errors import ArgumentError, VideoError
from lrface.inputs.video import VideoSource
from lrface.tracks.events import TrackEventKind
from lrface.watching import watch

ADA, BOB, STRANGER = ("Ada", 20, 40, 40), ("Bob", 120, 40, 40), ("Cyd", 220, 40, 40)
TINY = ("Ada", 20, 40, 4)


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watching")
    with open_matcher(folder / "g.gallery", write_models(folder / "models")) as found:
        for name in ("Ada", "Bob"):
            found.enroll(name, portrait(name))
        yield found


def source(tmp_path, shown, fps=10.0):
    """A clip; each frame shows some faces, with noise of its own."""
    path = tmp_path / "any.mp4"
    path.write_bytes(b"x")
    frames = [scene(*faces, photo=i) if faces else picture(320, 240) for i, faces in enumerate(shown)]
    return VideoSource(path, open_capture=lambda _: FakeCapture(frames, props={5: fps, 7: len(frames)}))


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("shown", "sightings"),
    [
        ([[ADA]] * 50, [(0.0, "Ada")]),
        ([[ADA]] * 10 + [[]] * 15 + [[ADA]] * 5, [(0.0, "Ada")]),  # away for 1.6 s: the same sighting
        ([[ADA]] * 10 + [[]] * 25 + [[ADA]] * 5, [(0.0, "Ada"), (3.5, "Ada")]),
        ([[], [STRANGER], [STRANGER], [ADA, BOB, STRANGER]], [(0.1, None), (0.3, "Ada"), (0.3, "Bob")]),
        ([[TINY]] * 5, []),
    ],
)
def test_one_sighting_when_somebody_comes_into_view(tmp_path, matcher, shown, sightings):
    told = []
    watch(
        matcher,
        source(tmp_path, shown),
        on_sighting=lambda seen: told.append((round(seen.time_s, 2), seen.face.name)),
    )
    assert told == sightings


def test_report_and_files(tmp_path, matcher):
    shown = [[ADA, STRANGER], [ADA, STRANGER], [], [BOB], [BOB], [TINY]]
    report = watch(matcher, source(tmp_path, shown), out=tmp_path / "out")
    out = tmp_path / "out" / "run-0001"
    median, late = report.latency.percentiles()
    assert 0 < median <= late < 60
    assert (report.frames, report.named, report.unknown, report.too_small) == (6, {"Ada": 2, "Bob": 2}, 2, 1)
    assert (report.named_tracks, report.unknown_tracks) == ({"Ada": 1, "Bob": 1}, 1)
    assert sorted(path.name for path in report.written) == sorted(path.name for path in out.iterdir())
    seen = [
        (line["frame"], [(face["name"], face["track"]) for face in line["faces"]])
        for line in lines(out / "identifications.jsonl")
    ]
    assert [(frame, [name for name, _ in faces]) for frame, faces in seen] == [
        (0, ["Ada", None]),
        (1, ["Ada", None]),
        (3, ["Bob"]),
        (4, ["Bob"]),
        (5, [None]),
    ]
    assert seen[0][1] == seen[1][1]  # the same tracks
    assert len({track for _, faces in seen for _, track in faces}) == 4
    events = [(line["event"], line["name"]) for line in lines(out / "events.jsonl")]
    assert len(events) == 8
    assert set(events) == {
        *((kind, name) for name in ("Ada", "Bob") for kind in ("appeared", "identified", "left")),
        ("appeared", None),
        ("left", None),
    }
    assert len(list(VideoSource(out / "annotated.mp4"))) == 6
    assert cv2.imread(str(out / "timeline.png")).shape[1] == 1280


def test_interrupt_keeps_what_was_seen(tmp_path, matcher):
    def stop(frame, faces):
        if frame.index == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(matcher, source(tmp_path, [[ADA]] * 20), out=tmp_path / "out", on_frame=stop)
    out = tmp_path / "out" / "run-0001"
    assert len(lines(out / "identifications.jsonl")) == 7
    assert [line["event"] for line in lines(out / "events.jsonl")] == ["appeared", "identified", "left"]
    assert len(list(VideoSource(out / "annotated.mp4"))) == 7
    assert (out / "contact-sheet.jpg").stat().st_size > 0


def test_live_source_is_recorded_by_the_clock(tmp_path, matcher):
    seconds = iter([0.0, 0.0, 0.0, 1.0, 2.0, *[3.0] * 20])  # three frames, a second apart
    script = [FakeCapture([scene(ADA), scene(ADA), scene(ADA)])]
    live = VideoSource(
        "rtsp://camera/1",
        open_capture=lambda _: script.pop() if script else FakeCapture([], opened=False),
        wait=lambda closed, _: closed.set(),
        clock=lambda: next(seconds),
        on_event=lambda _: None,
    )
    report = watch(matcher, live, out=tmp_path / "out")
    written = list(VideoSource(tmp_path / "out" / "run-0001" / "annotated.mp4"))
    assert report.frames >= 1
    assert len(written) == 1 or len(written) > 5  # slow frames stand for their time


def test_a_source_without_a_frame_leaves_no_folder(tmp_path, matcher):
    with pytest.raises(VideoError):
        watch(matcher, source(tmp_path, []), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_run_keeps_the_first(tmp_path, matcher):
    for face in (ADA, BOB):
        watch(matcher, source(tmp_path, [[face]] * 3), out=tmp_path / "out")
    first, second = ((tmp_path / "out" / run / "identifications.jsonl").read_text() for run in ("run-0001", "run-0002"))
    assert "Ada" in first
    assert "Bob" in second


@pytest.mark.parametrize(("tracks", "kept", "expected"), [(True, 3600.0, 1), (True, 0.0, 0), (False, 3600.0, 2)])
def test_strangers_are_known_again_or_not_kept_at_all(tmp_path, tracks, kept, expected):
    """Without thresholds for two tracks, each visit has an identifier of its own."""
    turned, told = [[STRANGER]] * 8, []
    with open_matcher(tmp_path / "g.gallery", write_models(tmp_path / "models", tracks=tracks)) as matcher:
        watch(matcher, source(tmp_path, [*turned, *[[]] * 15, *turned]), on_event=told.append, keep_strangers_s=kept)
    left = [event.unknown for event in told if event.kind == TrackEventKind.LEFT]
    assert len(left) == 2
    assert len({key for key in left if key is not None}) == expected


def test_detection_in_every_third_frame_sees_and_shows_the_same_people(tmp_path, matcher):
    """They walk; between detections their boxes move with them."""
    shown = [[("Ada", 20 + 4 * i, 40, 40)] if i < 20 else [("Bob", 340 - 4 * i, 40, 40)] for i in range(40)]
    frames, told = {}, []
    report = watch(
        matcher,
        source(tmp_path, shown, fps=25.0),
        out=tmp_path / "out",
        on_frame=lambda frame, faces: frames.update({frame.index: faces}),
        on_event=told.append,
        detect_every=3,
    )
    searched = list(range(0, 40, 3))
    assert report.frames == len(searched)
    assert [line["frame"] for line in lines(tmp_path / "out" / "run-0001" / "identifications.jsonl")] == searched
    assert len(list(VideoSource(tmp_path / "out" / "run-0001" / "annotated.mp4"))) == 40
    assert [event.name for event in told if event.kind == TrackEventKind.LEFT] == ["Ada", "Bob"]
    for i in [*range(6, 20), *range(27, 40)]:  # after the tracks have a velocity
        (face,) = frames[i]
        assert face.name == shown[i][0][0]
        assert face.box[0] == pytest.approx(shown[i][0][1], abs=6)
        assert face.landmarks[:, 0].min() >= face.box[0] - 1


@pytest.mark.parametrize(("every", "fps", "frames"), [(1, 25, 50), (5, 25, 10), (25, 25, 8), (3, 4, 50)])
def test_faces_are_searched_for_in_every_nth_frame_and_four_times_a_second(tmp_path, matcher, every, fps, frames):
    assert watch(matcher, source(tmp_path, [[]] * 50, fps), detect_every=every).frames == frames


@pytest.mark.parametrize("every", [0, 26, "often"])
def test_detect_every_out_of_range(tmp_path, matcher, every):
    with pytest.raises(ArgumentError, match="detect_every"):
        watch(matcher, source(tmp_path, [[]]), detect_every=every)
