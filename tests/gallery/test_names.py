"""What may be a person's name: one spelling, nothing that is not drawn, nothing that leads out of a folder."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrface.errors import EnrolmentError
from lrface.gallery import normalise_name
from lrface.gallery.names import name_fault

ODD = "\u200b\u200c\u200d\u200e\u2060\ufeff\u3164\u00ad\u202e\u2066\U000e0041/\\.\x00\x1b \u00a0\u0301e\u0301"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("Ada\u00a0Lovelace", "Ada Lovelace"),
        ("Ada  \u2003Lovelace ", "Ada Lovelace"),
        ("A\u030angstro\u0308m", "Ångström"),
        ("O'Brien, J. (2)", "O'Brien, J. (2)"),
        ("..a", "..a"),
        ("ನಾರಾಯಣ್\u200cರಾವ್", "ನಾರಾಯಣ್\u200cರಾವ್"),  # after a virama
        ("علی\u200cرضا", "علی\u200cرضا"),  # noqa: RUF001 (between Arabic letters)
        ("ශ්\u200dරී", "ශ්\u200dරී"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("김민준", "김민준"),
        ("dorsal:fin", "dorsal:fin"),
    ],
)
def test_names_of_many_scripts(name: str, stored: str) -> None:
    assert normalise_name(name) == stored


@pytest.mark.parametrize(
    "name",
    [
        *("/", "a/b", "a\\b", "..", ".", "...", ". .", "../x", "C:\\x", "C:x", "c:"),
        *(f"an{c}a" for c in "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\ufeff\u3164\u115f\u1160\uffa0\u00ad\u034f"),
        *(f"an{c}a" for c in "\u202a\u202e\u2066\u2069\u061c\u180e\u2800\ufe0f\U000e0041\U000e0100\u17b4\x7f\x85\x9b"),
        *("\u200dana", "ana\u200d", "\u0301", "\u200c", "👩\u200d", "a\u200d🚀", "\ue000", "\ufdd0", "\U0010ffff"),
    ],
)
def test_names_that_could_look_like_others_or_lead_elsewhere(name: str) -> None:
    with pytest.raises(EnrolmentError, match="name"):
        normalise_name(name)
    assert name_fault(name) is not None


@given(st.one_of(st.text(max_size=250), st.text(st.sampled_from(ODD + "abZ李"), max_size=12)))
def test_what_is_accepted_is_safe_and_has_one_spelling(name: str) -> None:
    try:
        clean = normalise_name(name)
    except EnrolmentError:
        return
    assert normalise_name(clean) == clean
    assert name_fault(clean) is None
    assert clean == unicodedata.normalize("NFC", clean) == clean.strip()
    assert clean.encode("utf-8").decode("utf-8") == clean
    folder = Path("/target") / clean
    assert folder.parent == Path("/target")
    assert folder.name == clean
    assert not set(clean) & set("\u200b\u200e\u2060\ufeff\u3164\u202e\x00\x1b/\\")


@given(st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=50))
def test_letters_and_digits_are_accepted(name: str) -> None:
    """But for letters that are not drawn."""
    if not set(unicodedata.normalize("NFC", name)) & set("\u115f\u1160\u3164\uffa0"):
        assert normalise_name(name) == unicodedata.normalize("NFC", name)
