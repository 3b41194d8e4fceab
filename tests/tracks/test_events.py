from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from lrface.outputs.records import json_line
from lrface.tracks.events import VERSION, TrackEvent, TrackEventKind

PLACE = {"track": 3, "time_s": 1.23456, "frame": 31, "box": (1.0, 2.0, 33.333, 44.0)}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            TrackEvent(TrackEventKind.APPEARED, **PLACE),
            {"event": "appeared", "camera": None, "wall_time": None, "person": None, "name": None, "similarity": None,
             "threshold": None, "views": 0.0, "unknown": None, "best_view_quality": None},
        ),
        (
            TrackEvent(TrackEventKind.IDENTIFIED, **PLACE, camera="door", wall_time=datetime(2026, 5, 1, 9, tzinfo=UTC),
                       person="id", name="Ada", similarity=0.612341, threshold=0.5, views=2.345, best_view_quality=0.7),
            {"event": "identified", "camera": "door", "wall_time": "2026-05-01T09:00:00.000+00:00", "person": "id",
             "name": "Ada", "similarity": 0.61234, "threshold": 0.5, "views": 2.35, "unknown": None,
             "best_view_quality": 0.7},
        ),
    ],
)  # fmt: skip
def test_record(event, expected):
    found = json.loads(json_line(event.to_dict()))
    place = {"version": VERSION, "track": 3, "time_s": 1.235, "frame": 31, "box": [1.0, 2.0, 33.33, 44.0]}
    assert found == {**place, **expected}
