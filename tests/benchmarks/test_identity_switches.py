"""Identity switches are counted rightly; the labels are whole; a cut of a real clip misplaces hardly any face."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.detect_every import follow
from benchmarks.identity_switches import CLIPS, LABELS, count_switches, read_labels
from benchmarks.tracks import BOTH as HEADS
from benchmarks.tracks import frames_of
from lrface import FaceMatcher
from lrface.types import Box

LEFT, RIGHT, AWAY = (0.0, 0.0, 10.0, 10.0), (100.0, 0.0, 110.0, 10.0), (0.0, 100.0, 10.0, 110.0)
BOTH = [(LEFT, 1), (RIGHT, 2)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ([[(LEFT, 7), (RIGHT, 8)]] * 4, {"shown": 8}),
        (
            [[(LEFT, 7), (RIGHT, 8)]] * 2 + [[(LEFT, 8), (RIGHT, 7)]] * 2,
            {"shown": 8, "mixed": 2, "split": 2, "astray": 4},
        ),
        ([[(LEFT, 7)], [(LEFT, 9)], [], [(LEFT, 9)]], {"shown": 3, "split": 1}),
        ([[(AWAY, 7), (LEFT, 8)]] * 4, {"shown": 4}),  # a face that is not labelled is not judged
    ],
)
def test_switches_are_counted(shown: list[list[tuple[Box, int]]], expected: dict[str, int]) -> None:
    found = count_switches(shown, [0.0, 0.5, 1.0, 1.5], dict.fromkeys(range(4), BOTH))
    assert found == {"faces": 8, "shown": 0, "mixed": 0, "split": 0, "astray": 0} | expected


def test_somebody_who_was_away_for_long_may_have_another_track() -> None:
    found = count_switches([[(LEFT, 7)], [(LEFT, 9)]], [0.0, 1.5], {0: BOTH, 1: BOTH})
    assert found["split"] == 0


def test_a_label_of_nobody_is_not_judged() -> None:
    found = count_switches([[(LEFT, 7)], [(LEFT, 7)]], [0.0, 0.1], {0: [(LEFT, 1)], 1: [(LEFT, 0)]})
    assert (found["faces"], found["shown"]) == (1, 1)


@pytest.mark.parametrize("clip", CLIPS)
def test_labels_are_whole(clip: str) -> None:
    labels = read_labels(LABELS / f"{Path(clip).stem}.csv")
    assert len(labels) >= 100
    for frame, known in labels.items():
        people = [person for _, person in known if person]
        assert len(people) == len(set(people)), f"{clip}, frame {frame}: a person is there twice"
        assert all(x1 < x2 and y1 < y2 for (x1, y1, x2, y2), _ in known)


def test_after_a_cut_in_a_real_clip_a_track_is_of_one_person(shared: Path) -> None:
    """stage.mp4 cuts at frame 211 from the speaker to people of whom one sits where he stood."""
    start, cut, end = 195, 211, 222
    labels = read_labels(LABELS / "stage.csv")
    frames = frames_of(shared / "data" / "video" / "stage.mp4", limit=end)[start:]
    with FaceMatcher.open(":memory:", networks="fast") as matcher:
        found = [matcher.detector.detect(frame.image) for frame in frames]
        run, _, _ = follow(matcher, frames, found, 1)
    shown = [[(face.box, face.track or 0) for face in faces] for faces in run]
    counts = count_switches(
        shown, [frame.time_s for frame in frames], {i - start: labels[i] for i in range(start, end)}
    )
    assert counts["shown"] >= (cut - start) + 3 * (end - cut)
    assert counts["astray"] <= 2, counts


@pytest.mark.parametrize("every", [1, 3])
def test_small_faces_that_turn_keep_their_tracks(shared: Path, every: int) -> None:
    """Two people who turn their heads, shrunk until their faces are about 16 px wide."""
    frames = frames_of(shared / "data" / "video" / HEADS)
    with FaceMatcher.open(":memory:") as matcher:
        usual = max(face.native_px for face in matcher.analyze(frames[0].image))
        frames = frames_of(shared / "data" / "video" / HEADS, 16 / usual)
        found = [matcher.detector.detect(frame.image) for frame in frames]
        run, _, _ = follow(matcher, frames, found, every)
    assert {face.track for faces in run for face in faces} == {1, 2}
