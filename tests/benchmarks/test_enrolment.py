"""The benchmark of enrolment: some photos of LFW are enrolled, some show nobody, and all are known the second time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.enrolment import lay_out, run


def test_a_folder_is_enrolled_and_known_again(shared: Path, tmp_path: Path) -> None:
    lay_out(shared / "data" / "lfw" / "lfw-deepfunneled.zip", tmp_path / "people", 40, 250)
    first = run(tmp_path / "staff.gallery", tmp_path / "people")
    assert first["photos"] == 40
    assert first["refused"] >= 2
    assert first["enrolled"] > 20
    again = run(tmp_path / "staff.gallery", tmp_path / "people")
    assert (again["already enrolled"], again["refused"]) == (first["enrolled"], first["refused"])
