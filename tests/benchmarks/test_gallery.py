"""The benchmark of galleries runs; what it finds is what faiss finds; a second process sees who is enrolled."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gallery import KEY, check, fill, make_people, ours, ours_in_milvus, two_processes
from benchmarks.lib.gallery_peers import faiss_exact, faiss_hnsw


def test_all_find_the_same_people(tmp_path: Path) -> None:
    make_people(300, tmp_path)
    for key in (None, KEY):
        assert fill(tmp_path, key)["file_mib"] > 0.3
        record = ours(tmp_path, 2, key)
        assert min(value for name, value in record.items() if name.endswith("_ms")) > 0
        assert record.get("missed", 0) == 0
    assert check(tmp_path)["findings"] == 0
    for half in (False, True):
        assert faiss_exact(tmp_path, 2, 5, half)["missed"] == 0
    assert [row["missed"] < 0.1 for row in faiss_hnsw(tmp_path, 2, 5)] == [True, True]


def test_who_is_enrolled_by_another_process_is_found(tmp_path: Path) -> None:
    make_people(300, tmp_path)
    fill(tmp_path, None)
    record = two_processes(tmp_path, 3)
    assert record["searches"] > 3
    assert record["seen_after_max_ms"] < 60_000


def test_the_same_people_are_found_in_milvus(tmp_path: Path) -> None:
    make_people(300, tmp_path)
    record = ours_in_milvus(tmp_path, 2)
    assert record["missed"] == 0
    assert min(value for name, value in record.items() if name.endswith("_ms")) > 0
