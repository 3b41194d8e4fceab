"""Pages of the enrolled people by name: of an encrypted gallery the same ones, without reading everybody."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, photo

from lrface.gallery import Gallery
from lrface.gallery.ciphers import Aes
from lrface.serve.names import Names

NAMES = sorted(["Zoë", "ana", "Ana", "Ánna", "مريم", "Bob 10", "Bob 9", 'O\'Neil "Neo"', "😀", *map(str, range(40))])


@pytest.fixture(params=["plain", "encrypted"])
def gallery(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    if request.param == "encrypted":
        monkeypatch.setenv("LRFACE_GALLERY_KEY", "5a" * 32)
    with Gallery.open(tmp_path / "a.gallery", CONTRACT) as gallery:
        for seed, name in enumerate(reversed(NAMES)):
            gallery.add(name, [photo(seed)])
        yield gallery


def listed(names: Names, search: str = "", most: int = 7) -> list[str]:
    """All pages, one after the other."""
    found, after = list[str](), ""
    while page := names.page(search, after, most)[0]:
        assert len(page) <= most
        assert [person.photos for person in page] == [1] * len(page)
        found += [person.name for person in page]
        after = page[-1].name
    return found


def test_all_pages_together_are_everybody_in_order(gallery: Gallery) -> None:
    names = Names(gallery)
    assert listed(names) == NAMES
    assert names.first(5) == NAMES[:5]
    assert names.page("", NAMES[-1], 5) == ([], len(NAMES))
    assert listed(names, "BOB") == ["Bob 10", "Bob 9"]
    assert names.page("ANA", "", 9)[1] == 2
    assert listed(names, "مري") == ["مريم"]
    assert listed(names, "nobody") == []


def test_changes_are_seen(gallery: Gallery) -> None:
    names = Names(gallery)
    names.page("", "", 3)
    gallery.remove("Bob 9")
    gallery.rename("Ana", "Yves")
    gallery.set_retention("ana", str(dt.date.today() - dt.timedelta(days=1)))  # enrolled still, although not searched
    expected = sorted([*(set(NAMES) - {"Bob 9", "Ana"}), "Yves"])
    assert listed(names) == expected
    assert listed(names, "yv") == ["Yves"]
    assert listed(names, "ana") == ["ana"]


def test_a_page_of_an_encrypted_gallery_decrypts_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRFACE_GALLERY_KEY", "5a" * 32)
    with Gallery.open(tmp_path / "a.gallery", CONTRACT) as gallery:
        for seed, name in enumerate(NAMES):
            gallery.add(name, [photo(seed)])
        names, decrypted = Names(gallery), list[int]()
        gallery.search_index()
        unseal = Aes.unseal
        monkeypatch.setattr(Aes, "unseal", lambda self, value: decrypted.append(1) or unseal(self, value))
        assert len(names.page("", "Bob", 1)[0]) == 1
        assert len(names.page("bob", "", 1)[0]) == 1
        names.first(40)
        assert 0 < len(decrypted) < 10  # the details and the photo of two people
        assert len(names.page("", "", 40)[0]) == 40  # nearly everybody: it is quicker to read them in a row
