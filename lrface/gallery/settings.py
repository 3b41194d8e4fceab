"""What was chosen for a gallery: its groups, whether crops are kept, whether it is encrypted."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from lrface.decisions.rates import check_fpir, fmr_for
from lrface.errors import GalleryError, LrfaceError


@dataclass(frozen=True, slots=True)
class Group:
    """People with rules of their own: staff, a watch list.

    Attributes:
        fpir: The share of strangers that may be named as anybody of this group; None for the gallery's.
        valid_from: The first day, ISO 8601, on which they are searched; None without.
        valid_until: The last day; None without.
    """

    fpir: float | None = None
    valid_from: str | None = None
    valid_until: str | None = None

    def is_valid(self, today: dt.date) -> bool:
        """Whether the group's people are searched on a day."""
        day = today.isoformat()
        return (self.valid_from or day) <= day <= (self.valid_until or day)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen for a gallery.

    Attributes:
        groups: By name.
        keep_crops: Whether aligned crops are kept, so that another model can embed them.
        key_proof: By which the right key is recognised; None for a gallery that is not encrypted.
    """

    groups: Mapping[str, Group] = field(default_factory=dict)
    keep_crops: bool = False
    key_proof: str | None = None

    def to_json(self) -> str:
        """One line, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Reads what `to_json` wrote.

        Raises:
            GalleryError: It is something else.
        """
        try:
            found = json.loads(text)
            groups = {str(name): Group(**values) for name, values in found.pop("groups").items()}
            settings = cls(groups=groups, **found)
            for group in groups.values():
                check_group(group)
            if type(settings.keep_crops) is not bool or not isinstance(settings.key_proof, str | None):
                raise ValueError("values of wrong types")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError, LrfaceError) as error:
            raise GalleryError(f"the gallery's settings are damaged ({str(error)[:200]}): restore a copy") from error
        return settings

    def strictest(self, groups: Sequence[str], today: dt.date, size: Callable[[str], int]) -> tuple[float | None, int]:
        """The rate of somebody in these groups, and by how many people it is shared; of several the strictest.

        Args:
            groups: Names.
            today: For which groups must be valid.
            size: Gives how many people of a group are searched.
        """
        rates = []
        for name in groups:
            group = self.groups.get(name)
            if group is not None and group.fpir is not None and group.is_valid(today):
                people = size(name)
                rates.append((fmr_for(group.fpir, people), group.fpir, people))
        return min(rates)[1:] if rates else (None, 0)

    def with_group(self, name: str, group: Group | None) -> Settings:
        """With one group added, changed or (None) taken away."""
        groups = {**self.groups, name: group}
        return replace(self, groups={key: value for key, value in groups.items() if value is not None})


def check_group(group: Group) -> None:
    """Refuses a group whose rate or days are none.

    Raises:
        GalleryError: A day is not one.
        LrfaceError: The rate is out of range.
    """
    if group.fpir is not None:
        if isinstance(group.fpir, bool) or not isinstance(group.fpir, int | float):
            raise GalleryError("a group's fpir is not a number: give a share above 0 and below 1")
        check_fpir(group.fpir)
    for day in (group.valid_from, group.valid_until):
        if day is not None:
            check_day(day)


def check_day(day: str) -> str:
    """A day as ISO 8601 writes it.

    Raises:
        GalleryError: It is none.
    """
    try:
        if dt.date.fromisoformat(day).isoformat() == day:
            return day
    except (ValueError, TypeError):
        pass
    raise GalleryError(f"{day!r} is not a day: write it as 2027-03-31")
