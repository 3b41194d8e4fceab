"""Unknown tracks become groups of one person each; what was in view together never shares a group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrface.matcher import FaceMatcher
from lrface.serve.grouping import group_tracks, same_thresholds
from lrface.tracks.template import TrackTemplate, View, fuse_views


def around(centre: int, count: int, seed: int = 0, noise: float = 0.6) -> np.ndarray:
    """Unit vectors near one of the axes of a space of 64 dimensions."""
    rng = np.random.default_rng([centre, seed])
    found = np.eye(64)[centre] + noise * rng.standard_normal((count, 64)) / 8
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def needing(similarity: float, count: int) -> np.ndarray:
    return np.full(count, similarity, np.float32)


def test_tracks_of_three_people_are_three_groups_the_largest_first() -> None:
    vectors = np.concatenate([around(0, 2), around(1, 4), around(2, 1)])
    assert group_tracks(vectors, needing(0.4, 7)) == [[2, 3, 4, 5], [0, 1], [6]]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_need_no_comparison(count: int) -> None:
    assert group_tracks(around(0, count), needing(0.4, count)) == [[0]] * count


@pytest.mark.parametrize("seed", range(20))
def test_no_group_holds_two_who_were_in_view_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([around(0, 12, seed), around(1, 12, seed)])
    apart = {(int(a), int(b)) for a, b in rng.integers(0, 24, (10, 2)) if a != b}
    groups = group_tracks(vectors, needing(0.4, 24), apart)
    assert sorted(row for rows in groups for row in rows) == list(range(24))
    for rows in groups:
        assert not any(a in rows and b in rows for a, b in apart)


def test_twins_who_were_seen_together_stay_two_groups() -> None:
    """Each later track goes to one of both; the two are never one person by way of a third track."""
    vectors = around(0, 5, noise=0.1)
    groups = group_tracks(vectors, needing(0.4, 5), {(1, 0)})
    assert len(groups) == 2
    assert {0, 1} == {next(iter({0, 1} & set(rows))) for rows in groups}


def test_the_stricter_threshold_of_two_tracks_counts() -> None:
    vectors = np.stack([around(0, 1)[0], around(0, 1, seed=1)[0]])
    similarity = float(vectors[0] @ vectors[1])
    assert group_tracks(vectors, np.array([similarity - 0.1] * 2, np.float32)) == [[0, 1]]
    assert group_tracks(vectors, np.array([similarity - 0.1, similarity + 0.1], np.float32)) == [[0], [1]]


@pytest.fixture(scope="module")
def cast(shared: Path) -> list[tuple[str, np.ndarray]]:
    """Names and portraits of eight people, five each, read at half their size."""
    import cv2

    photos = sorted((shared / "data" / "images" / "cast" / "enroll").rglob("*.*"))
    return [(photo.parent.name, cv2.imread(str(photo), cv2.IMREAD_REDUCED_COLOR_2)) for photo in photos]


@pytest.mark.parametrize(("width", "least"), [(48, 0.9), (24, 0.7)])
def test_real_people_are_grouped(cast: list[tuple[str, np.ndarray]], width: int, least: float) -> None:
    """Photos as if each were a track of its own, at the width that a camera sees."""
    import cv2

    with FaceMatcher.open(":memory:", networks="fast") as matcher:
        templates, names = list[TrackTemplate](), list[str]()
        for name, picture in cast:
            boxes = matcher.detector.detect(picture).boxes
            if not len(boxes):
                continue
            scale = width / float((boxes[:, 2] - boxes[:, 0]).max())
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            seen = [face for face in matcher.analyze(small) if len(face.embedding)]
            if seen:
                face = max(seen, key=lambda each: each.native_px)
                templates.append(fuse_views([View(face.embedding, face.quality, face.native_px, face.network)]))
                names.append(name)
        thresholds = same_thresholds(templates, matcher.calibration)
    groups = group_tracks(np.stack([each.vector for each in templates]), thresholds)
    assert len(names) >= 30
    assert len(set(names)) == 8
    pairs = [(a, b) for rows in groups for i, a in enumerate(rows) for b in rows[i + 1 :]]
    right = sum(names[a] == names[b] for a, b in pairs)
    possible = sum(names[a] == names[b] for a in range(len(names)) for b in range(a))
    assert right >= least * len(pairs), (len(names), len(groups), right, len(pairs), possible)
    assert right >= 0.4 * possible, (len(names), len(groups), right, len(pairs), possible)
