from __future__ import annotations

import json

import pytest
from fakes import FakeCapture, FakeMatcher, identification, picture

from lrface.errors import VideoError
from lrface.inputs.video import VideoSource
from lrface.watching import watch

ADA, BOB, STRANGER = identification("Ada", 0.6), identification("Bob", 0.5), identification(None, 0.1)
TINY = identification(None, None, reason="too small", native_px=6)


def source(tmp_path, frames, fps=10.0):
    path = tmp_path / "any.mp4"
    path.write_bytes(b"x")
    return VideoSource(path, open_capture=lambda _: FakeCapture([picture()] * frames, props={5: fps, 7: frames}))


@pytest.mark.parametrize(
    ("answers", "sightings"),
    [
        ([[ADA]] * 50, [(0.0, "Ada")]),
        ([[ADA]] * 10 + [[]] * 15 + [[ADA]] * 5, [(0.0, "Ada")]),  # away for 1.6 s: the same sighting
        ([[ADA]] * 10 + [[]] * 25 + [[ADA]] * 5, [(0.0, "Ada"), (3.5, "Ada")]),
        ([[], [STRANGER], [STRANGER, STRANGER], [ADA, BOB]], [(0.1, None), (0.3, "Ada"), (0.3, "Bob")]),
        ([[TINY]] * 5, []),
    ],
)
def test_one_sighting_when_somebody_comes_into_view(tmp_path, answers, sightings):
    told = []
    watch(
        FakeMatcher(answers.__getitem__),
        source(tmp_path, len(answers)),
        on_sighting=lambda seen: told.append((round(seen.time_s, 2), seen.face.name)),
    )
    assert told == sightings


def test_report_and_files(tmp_path):
    answers = [[ADA, STRANGER], [ADA, TINY], [], [BOB]]
    report = watch(FakeMatcher(answers.__getitem__), source(tmp_path, 4), out=tmp_path / "out")
    out = tmp_path / "out" / "run-0001"
    assert (report.frames, report.named, report.unknown, report.too_small) == (4, {"Ada": 2, "Bob": 1}, 1, 1)
    assert sorted(path.name for path in report.written) == sorted(path.name for path in out.iterdir())
    lines = [json.loads(line) for line in (out / "identifications.jsonl").read_text("utf-8").splitlines()]
    assert [(line["frame"], [face["name"] for face in line["faces"]]) for line in lines] == [
        (0, ["Ada", None]),
        (1, ["Ada", None]),
        (3, ["Bob"]),
    ]
    assert len(list(VideoSource(out / "annotated.mp4"))) == 4


def test_interrupt_keeps_what_was_seen(tmp_path):
    def answer(i):
        if i == 7:
            raise KeyboardInterrupt
        return [ADA]

    with pytest.raises(KeyboardInterrupt):
        watch(FakeMatcher(answer), source(tmp_path, 20), out=tmp_path / "out")
    out = tmp_path / "out" / "run-0001"
    assert len((out / "identifications.jsonl").read_text().splitlines()) == 7
    assert len(list(VideoSource(out / "annotated.mp4"))) == 7
    assert (out / "contact-sheet.jpg").stat().st_size > 0


def test_live_source_is_recorded_by_the_clock(tmp_path):
    seconds = iter([0.0, 0.0, 0.0, 1.0, 2.0, *[3.0] * 20])  # three frames, a second apart
    script = [FakeCapture([picture(), picture(), picture()])]

    def slow(image):
        return [ADA]

    live = VideoSource(
        "rtsp://camera/1",
        open_capture=lambda _: script.pop() if script else FakeCapture([], opened=False),
        wait=lambda closed, _: closed.set(),
        clock=lambda: next(seconds),
        on_event=lambda _: None,
    )
    report = watch(FakeMatcher(slow), live, out=tmp_path / "out")
    written = list(VideoSource(tmp_path / "out" / "run-0001" / "annotated.mp4"))
    assert report.frames >= 1
    assert len(written) == 1 or len(written) > 5  # slow frames stand for their time


def test_a_source_without_a_frame_leaves_no_folder(tmp_path):
    with pytest.raises(VideoError):
        watch(FakeMatcher(lambda _: []), source(tmp_path, 0), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_run_keeps_the_first(tmp_path):
    for name in (ADA, BOB):
        watch(FakeMatcher(lambda _, name=name: [name]), source(tmp_path, 3), out=tmp_path / "out")
    first, second = ((tmp_path / "out" / run / "identifications.jsonl").read_text() for run in ("run-0001", "run-0002"))
    assert "Ada" in first
    assert "Bob" in second
