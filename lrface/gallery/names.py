"""What may be a person's name."""

from __future__ import annotations

import unicodedata

from lrface.errors import EnrolmentError

MAX_LENGTH = 200
# Control, surrogate, private, unassigned, line and paragraph separators: unprintable, or not to be stored as UTF-8.
_REFUSED = frozenset(("Cc", "Cs", "Co", "Cn", "Zl", "Zp"))
# Marks that turn the direction of the text around them: one name could be drawn as another.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def normalise_name(name: str) -> str:
    """The one spelling under which a person is stored: NFC, without blanks at the ends.

    Raises:
        EnrolmentError: Not text, empty, longer than 200 characters, or with control characters.
    """
    if not isinstance(name, str):
        raise EnrolmentError(f"a name cannot be a {type(name).__name__}: pass text")
    clean = unicodedata.normalize("NFC", name).strip()
    if not clean:
        raise EnrolmentError("the name is empty: give the person a name")
    if len(clean) > MAX_LENGTH:
        raise EnrolmentError(f"the name has {len(clean)} characters: shorten it to {MAX_LENGTH}")
    if any(unicodedata.category(c) in _REFUSED or c in _BIDI for c in clean):
        raise EnrolmentError(f"the name {clean!a} holds control or unprintable characters: remove them")
    return clean
