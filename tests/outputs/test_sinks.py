from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import identification, picture

from lrface.errors import LrfaceError
from lrface.inputs.video import VideoSource
from lrface.outputs.contact_sheet import MAX_ROWS, TILES, ContactSheet
from lrface.outputs.sinks import JsonLines, VideoSink, frame_record, write_picture


def test_json_lines_are_on_disk_at_once_and_named_when_closed(tmp_path):
    path = tmp_path / "new" / "lines.jsonl"
    with JsonLines(path) as lines:
        lines.write(frame_record("clip.mp4", 3, 0.12345, [identification("山田太郎", 0.5)]))
        assert json.loads((tmp_path / "new" / "lines.part.jsonl").read_text("utf-8"))["frame"] == 3
        assert not path.exists()
    record = json.loads(path.read_text("utf-8"))
    assert record["time_s"] == 0.123
    assert record["faces"][0]["name"] == "山田太郎"
    assert "embedding" not in record["faces"][0]
    assert [file.name for file in path.parent.iterdir()] == ["lines.jsonl"]


def test_interrupted_files_are_whole(tmp_path):
    def run():
        with JsonLines(tmp_path / "a.jsonl") as lines, VideoSink(tmp_path / "a.mp4", 10) as video:
            for i in range(5):
                lines.write({"i": i})
                video.write(picture(), i / 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 5
    assert len(list(VideoSource(tmp_path / "a.mp4"))) == 5


@pytest.mark.parametrize(
    ("times", "frames"),
    [
        ([0, 0.1, 0.2, 0.3], 4),
        ([0, 0.1, 0.5, 0.6], 7),  # a slow moment: the picture stands
        ([0, 0.01, 0.02, 0.1], 2),  # faster than the video: passed over
        ([0, 1000.0, 1000.1], 12),  # the camera was away: the gap is shown as one second
    ],
)
def test_video_keeps_the_time(tmp_path, times, frames):
    with VideoSink(tmp_path / "v.mp4", 10) as video:
        for time_s in times:
            video.write(picture(), time_s)
    assert len(list(VideoSource(tmp_path / "v.mp4"))) == frames


@pytest.mark.parametrize("later", [(64, 48), (128, 96), (48, 64), (33, 21)])
@pytest.mark.parametrize("first", [(64, 48), (65, 49)])
def test_video_fits_other_sizes_into_the_first(tmp_path, first, later):
    with VideoSink(tmp_path / "v.mp4", 10) as video:
        video.write(picture(*first, value=200), 0)
        video.write(picture(*later, value=200), 0.1)
    frames = list(VideoSource(tmp_path / "v.mp4"))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2
    assert frames[1].image[24, 32].mean() == pytest.approx(200, abs=12)


def test_nothing_seen_leaves_no_video_and_no_sheet(tmp_path):
    with VideoSink(tmp_path / "v.mp4", 10):
        pass
    ContactSheet(tmp_path / "s.jpg").close()
    assert list(tmp_path.iterdir()) == []


def full_disk() -> bool:
    return Path("/dev/full").exists()


@pytest.mark.skipif(not full_disk(), reason="no /dev/full on this system")
def test_full_disk_is_told(tmp_path):
    (tmp_path / "lines.part.jsonl").symlink_to("/dev/full")
    lines = JsonLines(tmp_path / "lines.jsonl")
    with pytest.raises(LrfaceError, match=r"lines.jsonl.*free some space"):
        lines.write({"a": 1})


@pytest.mark.skipif(not full_disk(), reason="no /dev/full on this system")
def test_full_disk_under_a_video_is_told(tmp_path):
    (tmp_path / "v.part.mp4").symlink_to("/dev/full")
    video = VideoSink(tmp_path / "v.mp4", 10)
    with pytest.raises(LrfaceError, match="free some space"):
        video.write(picture(), 0)
    video.close()
    assert not (tmp_path / "v.mp4").exists()


@pytest.mark.parametrize("make", [JsonLines, lambda path: write_picture(path, picture())])
def test_folder_that_is_a_file(tmp_path, make):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LrfaceError, match="choose another folder"):
        make(tmp_path / "file" / "out.jpg")


def test_write_picture(tmp_path):
    write_picture(tmp_path / "a" / "x.jpg", picture(value=7))
    assert cv2.imread(str(tmp_path / "a" / "x.jpg")).mean() == pytest.approx(7, abs=1)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.jpg"]


# -- contact sheet ----------------------------------------------------------------------------------------------------


def sheet_of(tmp_path, additions):
    sheet = ContactSheet(tmp_path / "sheet.jpg")
    for time_s, faces in additions:
        sheet.add(picture(200, 100), faces, time_s)
    sheet.close()
    return cv2.imread(str(tmp_path / "sheet.jpg")), sheet


def test_one_row_a_person_and_one_for_strangers(tmp_path):
    faces = [identification("Ada", 0.6), identification("Bob", 0.7), identification(), identification()]
    one, _ = sheet_of(tmp_path, [(0.0, faces[:1])])
    three, _ = sheet_of(tmp_path, [(0.0, faces)])
    assert three.shape[1] == one.shape[1]
    assert (three.shape[0] - 8) == 3 * (one.shape[0] - 8)


def test_best_of_each_second_is_kept_and_memory_is_bounded(tmp_path):
    similar = np.random.default_rng(0).uniform(0.4, 0.9, 2000)
    additions = [(i / 25, [identification("Ada", float(value))]) for i, value in enumerate(similar)]
    _, sheet = sheet_of(tmp_path, additions)
    row = sheet._rows["Ada"]
    assert row.frames == 2000
    assert len(row.tiles) == TILES
    assert max(tile.worth for tile in row.tiles) == similar.max()
    times = sorted(tile.time_s for tile in row.tiles)
    assert min(np.diff(times)) >= 1


def test_strangers_side_by_side_are_all_shown(tmp_path):
    left, right = identification(box=(10, 10, 30, 34)), identification(box=(60, 10, 80, 34))
    _, sheet = sheet_of(tmp_path, [(i / 25, [left, right]) for i in range(20)])
    assert len(sheet._rows[None].tiles) == 2


def test_many_people_are_counted_not_kept(tmp_path):
    crowd = [identification(f"Person {i}", 0.5) for i in range(MAX_ROWS + 40)]
    _, sheet = sheet_of(tmp_path, [(0.0, crowd)])
    assert len(sheet._rows) <= MAX_ROWS + 1


@pytest.mark.parametrize("box", [(-20, -20, 10, 10), (190, 90, 260, 160), (-50, -50, 400, 300), (50, 50, 50.4, 50.4)])
def test_faces_at_the_border(tmp_path, box):
    picture_of, _ = sheet_of(tmp_path, [(0.0, [identification("Ada", 0.6, box)])])
    assert picture_of is not None
