"""The benchmark of galleries runs, and its two searches agree."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gallery import measure


def test_the_gallery_finds_what_faiss_finds(tmp_path: Path) -> None:
    record = measure(300, 2, tmp_path)
    assert record["people"] == 300
    assert record["largest_difference"] < 1e-5
    assert min(value for key, value in record.items() if key.endswith("_ms")) > 0
