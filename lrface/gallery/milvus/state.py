"""What is known of a gallery as a whole: one row, written in the same request as whatever it tells of."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.index import PersonTemplates
from lrface.gallery.milvus.connection import Row
from lrface.gallery.milvus.rows import STATE, empty_row
from lrface.gallery.reading import StoredPerson
from lrface.gallery.records import DIGEST_SIZE, digest, total
from lrface.gallery.settings import Settings

Entry = tuple[audit.Values, bytes]
FIELDS = ("text", "blob", "checksum")


@dataclass(frozen=True)
class State:
    """Of one moment.

    Attributes:
        generation: The number of the last entry of the audit log; moves with each change.
        head: The hash of that entry.
        next_row: The number of the next person, photo or negative example.
        photos: How many there are of all people.
        counts: How many people there are of each number of photos.
        dated: How many people have a last day.
        content: The sum of the checksums of all people: it tells whether all are there.
        fpir: The rate chosen for the gallery; None where nobody chose one.
        settings: Groups and the rest.
        pending: Entries of the audit log that the last change made; the next one writes them into it.
        blank: Whether rows of the last change may be left to be deleted.
        filling: Whether an import has begun and not ended.
        sums: float64 [dim], the sum of the means of people's embeddings.
        squares: The sum of the squares of all numbers of these means.
    """

    generation: int = 0
    head: bytes = bytes(DIGEST_SIZE)
    next_row: int = 1
    photos: int = 0
    counts: Mapping[int, int] = field(default_factory=dict)
    dated: int = 0
    content: bytes = bytes(DIGEST_SIZE)
    fpir: float | None = None
    settings: Settings = field(default_factory=Settings)
    pending: tuple[Entry, ...] = ()
    blank: bool = False
    filling: bool = False
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: float = 0.0

    @property
    def people(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def told(self, entries: Iterable[tuple[str, int | None, str, str]]) -> State:
        """After a change that adds these entries (action, row, person, detail) to the audit log."""
        last, made = (self.generation, self.head), []
        for entry in entries:
            values, link = audit.made(last, *entry)
            made.append((values, link))
            last = values[0], link
        return replace(self, generation=last[0], head=last[1], pending=tuple(made))

    def changed(self, old: StoredPerson | None, new: StoredPerson | None) -> State:
        """After one person has changed, was added (from None) or removed (to None)."""
        counts, sums, squares = dict(self.counts), self.sums, self.squares
        photos, dated = self.photos, self.dated
        for sign, person in ((-1, old), (1, new)):
            if person is None:
                continue
            known = PersonTemplates.of(person)
            mean = known.total.astype(np.float64) / known.photos
            sums = (sums if len(sums) else np.zeros(len(mean))) + sign * mean
            squares += sign * float(np.square(mean).sum())
            counts[known.photos] = counts.get(known.photos, 0) + sign
            photos += sign * known.photos
            dated += sign * (known.retain_until is not None)
        content = total([self.content, *([new.checksum] if new else [])], [old.checksum] if old else [])
        kept = {number: count for number, count in counts.items() if count > 0}
        return replace(self, counts=kept, sums=sums, squares=squares, photos=photos, dated=dated, content=content)

    def to_row(self, dim: int) -> Row:
        """As it is stored."""
        values = {
            "generation": self.generation,
            "head": self.head.hex(),
            "next_row": self.next_row,
            "photos": self.photos,
            "counts": sorted(self.counts.items()),
            "dated": self.dated,
            "content": self.content.hex(),
            "fpir": self.fpir,
            "settings": self.settings.to_json(),
            "pending": [[*entry, link.hex()] for entry, link in self.pending],
            "blank": self.blank,
            "filling": self.filling,
            "squares": self.squares,
        }
        text, blob = json.dumps(values), base64.b64encode(self.sums.astype("<f8").tobytes()).decode()
        checksum = digest(text.encode(), blob.encode()).hex()
        return empty_row(STATE, STATE, dim) | {"text": text, "blob": blob, "checksum": checksum}

    @classmethod
    def of_row(cls, row: Row) -> State:
        """Reads what `to_row` made.

        Raises:
            GalleryError: It is something else.
        """
        try:
            text, blob = str(row["text"]), str(row["blob"])
            if row["checksum"] != digest(text.encode(), blob.encode()).hex():
                raise ValueError("its checksum is wrong")
            found = json.loads(text)
            pending = [(tuple(entry[:-1]), bytes.fromhex(entry[-1])) for entry in found.pop("pending")]
            return cls(
                **{
                    **found,
                    "head": bytes.fromhex(found["head"]),
                    "content": bytes.fromhex(found["content"]),
                    "counts": {int(number): int(count) for number, count in found["counts"]},
                    "settings": Settings.from_json(found["settings"]),
                },
                pending=tuple(pending),
                sums=np.frombuffer(base64.b64decode(blob), "<f8").astype(np.float64),
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise GalleryError(
                f"the gallery's state is damaged ({str(error)[:200]}): restore a backup of the collection, or enrol "
                "the photos again in a new gallery"
            ) from error
