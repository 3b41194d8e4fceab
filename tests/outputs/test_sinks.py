from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from fakes import identification, picture
from shell import ENVIRONMENT

from lrface.errors import ImageError, LrfaceError, VideoError
from lrface.inputs.video import VideoSource
from lrface.outputs.contact_sheet import MAX_ROWS, TILES, ContactSheet
from lrface.outputs.files import JPEG_MAX_SIDE, run_folder, write_picture
from lrface.outputs.sinks import JsonLines, VideoSink


def test_json_lines_are_on_disk_at_once(tmp_path):
    path = tmp_path / "new" / "lines.jsonl"
    with JsonLines(path) as lines:
        lines.write({"name": "山田太郎"})
        assert json.loads(path.read_text("utf-8")) == {"name": "山田太郎"}
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


KILLED = """
import os, signal, sys
import numpy as np
from lrface.outputs.files import JPEG_MAX_SIDE, run_folder, write_picture
from lrface.outputs.sinks import JsonLines, VideoSink
folder, frames = sys.argv[1], int(sys.argv[2])
lines, video = JsonLines(folder + "/a.jsonl"), VideoSink(folder + "/a.mp4", 10)
for i in range(frames):
    lines.write({"i": i})
    video.write(np.full((48, 64, 3), i, np.uint8), i / 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("frames", [11, 12, 19, 57, 250])
def test_files_can_be_read_after_a_kill(tmp_path, frames):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(frames)], env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL
    assert [json.loads(line)["i"] for line in (tmp_path / "a.jsonl").open()] == list(range(frames))
    kept = list(VideoSource(tmp_path / "a.mp4"))
    assert frames - 11 < len(kept) <= frames  # at most the last second is missing
    assert all(frame.image.mean() == pytest.approx(frame.index, abs=8) for frame in kept)


FULL_DISK = """
import resource, sys
import numpy as np
from lrface.errors import LrfaceError
from lrface.outputs.files import write_picture
from lrface.outputs.files import JPEG_MAX_SIDE, run_folder, write_picture
from lrface.outputs.sinks import JsonLines, VideoSink
folder, what = sys.argv[1:3]
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
try:
    if what == "picture":
        write_picture(folder + "/a.jpg", noise)
    with JsonLines(folder + "/a.jsonl") as lines, VideoSink(folder + "/a.mp4", 10) as video:
        for i in range(1000):
            lines.write({"i": "x" * 100}) if what == "lines" else video.write(noise, i / 10)
except LrfaceError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["picture", "lines", "video"])
def test_full_disk_is_told(tmp_path, what):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), what], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert "free some space" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "a.jpg").exists()  # half a picture is not kept


@pytest.mark.parametrize("make", [JsonLines, lambda path: write_picture(path, picture())])
def test_folder_that_is_a_file(tmp_path, make):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LrfaceError, match="choose another folder"):
        make(tmp_path / "file" / "out.jpg")


def write_video(path):
    with VideoSink(path, 10) as video:
        video.write(picture(), 0)


@pytest.mark.parametrize("there", ["file", "link", "dangling link"])
@pytest.mark.parametrize("make", [JsonLines, lambda path: write_picture(path, picture()), write_video])
def test_nothing_that_was_there_is_replaced_or_followed(tmp_path, make, there):
    path, other = tmp_path / "out.jpg", tmp_path / "other"
    if there != "dangling link":
        other.write_text("kept")
    path.write_text("kept") if there == "file" else path.symlink_to(other)
    with pytest.raises(LrfaceError, match=r"out.jpg \(File exists\)"):
        make(path)
    assert other.exists() == (there != "dangling link")
    assert there == "dangling link" or path.read_text() == "kept"


@pytest.mark.parametrize(("size", "written"), [((8192, 64), (8190, 64)), ((16, 9000), (14, 8190)), ((1, 1), (2, 2))])
def test_video_of_any_size(tmp_path, size, written):
    with VideoSink(tmp_path / "v.mp4", 10) as video:
        video.write(picture(*size), 0)
        video.write(picture(*size), 0.1)
    frames = list(VideoSource(tmp_path / "v.mp4"))
    assert [frame.image.shape[1::-1] for frame in frames] == [written] * 2


@pytest.mark.parametrize("fps", [0.5, 12.5, 29.97, 59.94, 119.88, 1000])
def test_video_of_any_rate(tmp_path, fps):
    with VideoSink(tmp_path / "v.mp4", fps) as video:
        for i in range(5):
            video.write(picture(), i / fps)
    with VideoSource(tmp_path / "v.mp4") as written:
        assert written.fps == pytest.approx(fps, rel=1e-3)
        assert len(list(written)) == 5


def test_write_picture(tmp_path):
    write_picture(tmp_path / "a" / "x.jpg", picture(value=7))
    assert cv2.imread(str(tmp_path / "a" / "x.jpg")).mean() == pytest.approx(7, abs=1)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.jpg"]


def test_picture_that_is_too_wide_for_its_format(tmp_path):
    wide = picture(JPEG_MAX_SIDE + 1, 8)
    with pytest.raises(ImageError, match=r"65501x8 pixels do not fit into jpg; use .png"):
        write_picture(tmp_path / "x.jpg", wide)
    write_picture(tmp_path / "x.png", wide)
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# -- a folder for each run --------------------------------------------------------------------------------------------


def test_each_run_has_a_new_folder_for_its_owner_only(tmp_path):
    out = tmp_path / "new" / "out"
    folders = [run_folder(out) for _ in range(3)]
    assert [folder.name for folder in folders] == ["run-0001", "run-0002", "run-0003"]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (out, *folders)} == {0o700}
    with JsonLines(folders[0] / "a.jsonl") as lines:
        lines.write({})
    assert stat.S_IMODE((folders[0] / "a.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("there", ["run-0007", "run-0007.txt", "run-x", "run-123456"])
def test_what_is_in_the_way_is_passed_by(tmp_path, there):
    (tmp_path / there).symlink_to(tmp_path / "nowhere")
    folder = run_folder(tmp_path)
    assert folder.name == {"run-0007": "run-0008", "run-123456": "run-123457"}.get(there, "run-0001")
    assert not (tmp_path / "nowhere").exists()


def test_simultaneous_runs_never_share_a_folder(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(run_folder, [tmp_path / "out"] * 200))
    assert len(set(folders)) == 200


# -- contact sheet ----------------------------------------------------------------------------------------------------


def sheet_of(tmp_path, additions):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jpg"
    sheet = ContactSheet(path)
    for time_s, faces in additions:
        sheet.add(picture(200, 100), faces, time_s)
    sheet.close()
    return cv2.imread(str(path)), sheet


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
    assert max(tile.score for tile in row.tiles) == similar.max()
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


def test_without_pyav_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match="pip install av"), VideoSink(tmp_path / "a.mp4", 10) as sink:
        sink.write(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert list(tmp_path.iterdir()) == []
