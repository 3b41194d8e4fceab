from __future__ import annotations

import dataclasses
import sqlite3
import threading
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import ContractError, GalleryError
from lrface.gallery import Gallery, normalise_name
from lrface.gallery.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Büro staff?.gallery"


def test_a_writer_that_does_not_end_is_an_error_not_a_hang(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrface.gallery.storefile.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as gallery:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryError, match="another process"):
            gallery.add("ana", [photo(1)])
        assert names(gallery, vector(1)) == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        assert gallery.add("ana", [photo(1)]) == 1
        other.close()


def test_searches_go_on_while_another_thread_compares_all_checksums(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert end.wait(60)

    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        monkeypatch.setattr("lrface.gallery.audit.chain_fault", slow)
        verify = threading.Thread(target=gallery.verify)
        verify.start()
        assert begun.wait(60)
        assert names(gallery, vector(132)) == ["ana"]  # would wait for ever
        assert verify.is_alive()
        end.set()
        verify.join()
        gallery.add("bob", [photo(2)])
        assert names(gallery, vector(232))[0] == "bob"


def test_normalise_name_is_idempotent() -> None:
    for name in (" A\u0301b ", "李", "x" * 200):
        assert normalise_name(normalise_name(name)) == normalise_name(name)


@pytest.mark.parametrize("value", ["'much'", "7.0", "x'00'", "NULL", "-1.0", "9e999"])
def test_a_rate_that_was_not_chosen_is_noticed(path: Path, value: str) -> None:
    """By the checksum; remove_damaged then forgets the rate and nothing else."""
    with Gallery.open(path, CONTRACT) as opened:
        opened.add("ana", [photo(1)])
        opened.set_fpir(0.05)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE state SET fpir = {value}")
    connection.close()
    with Gallery.open(path, CONTRACT) as opened:
        with pytest.raises(GalleryError, match="lrface thresholds"):
            _ = opened.fpir
        assert len(opened.remove_damaged()) == 1
        assert opened.fpir is None
        assert names(opened, vector(132)) == ["ana"]


@pytest.mark.parametrize("fpir", [7.0, -0.5, 0.0, float("inf")])
def test_a_rate_out_of_range_is_refused_with_a_right_checksum_too(path: Path, fpir: float) -> None:
    with Gallery.open(path, CONTRACT) as opened:
        opened._store.set_fpir(fpir)
    with Gallery.open(path, CONTRACT) as opened:
        with pytest.raises(GalleryError, match="lrface thresholds"):
            _ = opened.fpir
        opened.set_fpir(0.05)
        assert opened.fpir == 0.05


def test_a_gallery_into_which_nothing_was_written_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "new.gallery"
    with Gallery.open(path, CONTRACT):
        assert path.exists()
    assert not list(tmp_path.iterdir())
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.set_fpir(0.1)
    assert path.exists()
    with Gallery.open(path, CONTRACT):  # made before, so it stays
        pass
    assert path.exists()


def test_a_new_gallery_that_another_process_uses_stays(tmp_path: Path) -> None:
    path = tmp_path / "new.gallery"
    with Gallery.open(path, CONTRACT), Gallery.open(path, CONTRACT) as other:
        other.set_fpir(0.1)
    with Gallery.open(path) as gallery:
        assert gallery.fpir == 0.1


def test_a_gallery_of_several_networks_is_refused(path: Path) -> None:
    two = dataclasses.replace(CONTRACT, models={**CONTRACT.models, "16": CONTRACT.models["32"]})
    store = Store(path, two)
    store.set_fpir(0.1)
    store.close()
    for contract in (None, CONTRACT):
        with pytest.raises(ContractError, match=r"made by another model.*run `lrface gallery upgrade`"):
            Gallery.open(path, contract)
