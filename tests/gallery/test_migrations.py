"""Galleries of every schema that an lrface ever made are read by this one (the files were made by those versions)."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, names, photo

from lrface.errors import ContractError, GalleryError
from lrface.gallery import Gallery
from lrface.gallery.store import Store
from lrface.gallery.tables import SCHEMA

DATA = Path(__file__).parent / "data"


@pytest.fixture
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(DATA / f"schema-{request.param}.sqlite", tmp_path / "staff.gallery"))


@pytest.mark.parametrize(("old", "old_schema"), [(n, n) for n in range(1, SCHEMA)], indirect=["old"])
def test_people_photos_and_the_rate_stay(old: Path, old_schema: int) -> None:
    store = Store(old, None)
    assert [(person.name, person.photos) for person in store.people()] == [("Ana", 2), ("Zoë", 1)]
    assert [store.owner(photo(seed).sha256) for seed in (1, 2, 3, 4)] == ["Ana", "Ana", "Zoë", None]
    assert store.read(lambda person: person).state.fpir == 0.02
    assert store.verify() == []
    made_by_3 = ["person added", "photos added"] * 2 + ["fpir chosen"]
    assert [entry.action for entry in store.audit_log()] == (made_by_3 if old_schema >= 3 else ["schema 3"])
    store.close()
    with sqlite3.connect(old) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("old", [2, 3, 4], indirect=True)
def test_templates_of_the_same_models_go_on(old: Path) -> None:
    with Gallery.open(old, CONTRACT) as gallery:
        assert names(gallery, photo(3).embedding, 1) == ["Zoë"]
        gallery.add("Zoë", [photo(5)])
        assert gallery.verify() == []


@pytest.mark.parametrize("contract", [None, CONTRACT])
def test_templates_of_several_models_are_refused_with_the_way_out(tmp_path: Path, contract: object) -> None:
    old = Path(shutil.copy(DATA / "schema-1.sqlite", tmp_path / "staff.gallery"))
    with pytest.raises(ContractError, match="lrface gallery upgrade"):
        Gallery.open(old, contract)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        ("UPDATE photos SET native_px = 7.0 WHERE person_id = 1", ["Zoë"]),
        ("UPDATE people SET name = 'Eva' WHERE id = 2", ["Ana"]),
    ],
)
def test_damage_is_not_made_whole_by_a_migration(tmp_path: Path, damage: str, whole: list[str]) -> None:
    old = Path(shutil.copy(DATA / "schema-2.sqlite", tmp_path / "staff.gallery"))
    with sqlite3.connect(old) as connection:
        connection.execute(damage)
    connection.close()
    with Gallery.open(old, CONTRACT) as gallery:
        with pytest.raises(GalleryError, match="lrface gallery verify"):
            gallery.people()
        gallery.remove_damaged()
        assert [person.name for person in gallery.people()] == whole
        assert gallery.verify() == []


@pytest.mark.parametrize(
    "damage", ["UPDATE state SET people = 3", "UPDATE contract SET json = '{}'", "DELETE FROM people"]
)
def test_what_cannot_be_read_stays_as_it_is(tmp_path: Path, damage: str) -> None:
    old = Path(shutil.copy(DATA / "schema-2.sqlite", tmp_path / "staff.gallery"))
    with sqlite3.connect(old) as connection:
        connection.execute(damage)
    connection.close()
    before = old.read_bytes()
    with pytest.raises(GalleryError, match="restore a copy"):
        Gallery.open(old, CONTRACT)
    assert old.read_bytes() == before
