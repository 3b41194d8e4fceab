"""What may be a person's name."""

from __future__ import annotations

import re
import unicodedata

from lrface.errors import EnrolmentError

MAX_LENGTH = 200
# Control, format, surrogate, private, unassigned, line and paragraph separators: they are not drawn, or they turn the
# direction of the text around them, so that one name could look like another; some cannot be stored as UTF-8.
_REFUSED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Characters of other categories that are not drawn: fillers, joiners of combining marks, variation selectors.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
_JOINERS = frozenset("\u200c\u200d")
_USUAL = re.compile("[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")  # read many times where a gallery is opened: a quick way
_SEPARATORS = frozenset("/\\")  # names become folders: no name may lead out of the folder it is put in
_DRIVE = re.compile(r"[A-Za-z]:")
_VIRAMA = 9  # combining class: the sign after which Indian scripts join or do not join
_VISIBLE = frozenset("LNSP")  # letters, numbers, symbols, punctuation


def normalise_name(name: str) -> str:
    r"""The one spelling under which a person is stored: NFC, one space for each run of blanks, none at the ends.

    Raises:
        EnrolmentError: Not text, empty, longer than 200 characters, `..`, or with characters that a name may not
            hold: separators of folders (`/`, `\`), control characters, characters that are not drawn.
    """
    if not isinstance(name, str):
        raise EnrolmentError(f"a name cannot be a {type(name).__name__}: pass text")
    clean = _spelling(name)
    if fault := name_fault(clean):
        raise EnrolmentError(f"the name {_start(clean)!r} {fault}: choose another spelling")
    return clean


def name_fault(name: str) -> str | None:
    """Why a stored name may not be one, as the end of a sentence; None if it may."""
    if _USUAL.fullmatch(name) and len(name) <= MAX_LENGTH:
        return None
    if not name:
        return "is empty"
    if len(name) > MAX_LENGTH:
        return f"has {len(name)} characters, more than {MAX_LENGTH}"
    if set(name) <= {".", " "}:
        return "is made of dots only, which is no folder's name"
    if _DRIVE.match(name):
        return "begins like a drive of Windows"
    if set(name) & _SEPARATORS:
        return "holds a separator of folders"
    if not (name.isascii() and name.isprintable()):
        refused = next((character for place, character in enumerate(name) if not _allowed(name, place)), None)
        if refused is not None:
            return f"holds the control or invisible character U+{ord(refused):04X}"
    if not any(unicodedata.category(c)[0] in _VISIBLE for c in name):
        return "holds nothing that is drawn"
    if name != _spelling(name):
        return "is not in its normal spelling"
    return None


def _spelling(name: str) -> str:
    composed = unicodedata.normalize("NFC", name).strip()
    blanks = ("\x20" if unicodedata.category(c) == "Zs" else c for c in composed)
    return "\x20".join(part for part in "".join(blanks).split("\x20") if part)


def _allowed(name: str, place: int) -> bool:
    character = name[place]
    if character in _JOINERS:
        return _joins(name, place)
    code = ord(character)
    return not (
        unicodedata.category(character) in _REFUSED
        or character in _BLANK
        or any(first <= code <= last for first, last in _SELECTORS)
    )


def _joins(name: str, place: int) -> bool:
    """Whether a (zero-width) joiner stands where it changes what is drawn: in Arabic or Indian script, or emoji."""
    if not 0 < place < len(name) - 1 or unicodedata.category(name[place + 1])[0] not in "LS":
        return False
    before = name[place - 1]
    arabic = unicodedata.bidirectional(before) == "AL" and unicodedata.bidirectional(name[place + 1]) == "AL"
    emoji = unicodedata.category(before) in ("So", "Sk") and unicodedata.category(name[place + 1]) == "So"
    return arabic or emoji or unicodedata.combining(before) == _VIRAMA


def _start(name: str) -> str:
    return name if len(name) <= 40 else name[:40] + "..."
