"""What a search needs of few people: groups, a last day, negative examples. A change copies a part of it, not all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lrface.types import FloatArray

_PART = 10  # bits of the row's number: a part holds 1,024 rows


@dataclass(frozen=True, slots=True, eq=False)
class Extra:
    """What few people have.

    Attributes:
        groups: The person's.
        retain_until: The last day; None without.
        negatives: float32 [n, dim], faces that are not the person's; None without.
        checksum: Of somebody who is not searched today; None for who is in a block.
    """

    groups: tuple[str, ...] = ()
    retain_until: str | None = None
    negatives: FloatArray | None = None
    checksum: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Extras:
    """Of all people, by their rows in the table of people. Immutable.

    Attributes:
        with_negatives: How many people have negative examples.
        dated: How many have a last day.
        left_out: How many are not searched today.
    """

    with_negatives: int = 0
    dated: int = 0
    left_out: int = 0
    _parts: Mapping[int, Mapping[int, Extra]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def get(self, row: int) -> Extra | None:
        """None for somebody who has nothing."""
        part = self._parts.get(row >> _PART)
        return None if part is None else part.get(row)

    def changed(self, gone: Iterable[int], new: Mapping[int, Extra]) -> Extras:
        """Without what some rows had, with what others have now."""
        parts: dict[int, dict[int, Extra]] = {}
        taken: list[Extra] = []
        for row in gone:
            old = self.get(row)
            if old is not None:
                taken.append(old)
                self._copied(parts, row).pop(row)
        for row, extra in new.items():
            self._copied(parts, row)[row] = extra
        if not parts:
            return self
        kept = {number: part for number, part in {**self._parts, **parts}.items() if part}
        negatives, dated, left_out = self.with_negatives, self.dated, self.left_out
        for sign, extras in ((1, new.values()), (-1, taken)):
            for extra in extras:
                negatives += sign * (extra.negatives is not None)
                dated += sign * (extra.retain_until is not None)
                left_out += sign * (extra.checksum is not None)
        return Extras(negatives, dated, left_out, kept)

    def _copied(self, parts: dict[int, dict[int, Extra]], row: int) -> dict[int, Extra]:
        """The part of a row, copied the first time."""
        number = row >> _PART
        if number not in parts:
            parts[number] = dict(self._parts.get(number, {}))
        return parts[number]
