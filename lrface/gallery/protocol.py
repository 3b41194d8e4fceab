"""What keeps a gallery: one protocol, implemented by a SQLite file (`store.Store`) and by Milvus (`milvus.store`).

`Gallery` checks arguments once for both, and asks one of them. Whatever a store is told has been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Protocol, TypeVar

from lrface.decisions.calibration import Population
from lrface.decisions.expectation import Enrolled
from lrface.gallery.audit import AuditEntry
from lrface.gallery.ciphers import Cipher
from lrface.gallery.contract import Contract
from lrface.gallery.index import Match
from lrface.gallery.reading import DamagedEntry, StoredPerson
from lrface.gallery.records import Details, PhotoTemplate
from lrface.gallery.refusals import Refusal
from lrface.gallery.settings import Group, Settings
from lrface.gallery.storereader import Contents, PersonSummary
from lrface.types import FloatArray

T = TypeVar("T")


class SearchedPeople(Protocol):
    """The people of one moment, as searched. The same object as long as nothing has changed."""

    @property
    def settings(self) -> Settings:
        """The gallery's groups and the rest."""

    @property
    def names(self) -> list[str]:
        """Of the people who are searched, in the order of enrolment."""

    @property
    def people(self) -> int:
        """How many people there are, also those who are not searched today."""

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose."""

    @property
    def population(self) -> Population:
        """What the thresholds need to know of the people who are searched."""

    @property
    def enrolled(self) -> Enrolled:
        """The people and how many photos they have, for what is expected of them."""

    def __len__(self) -> int:
        """How many people are searched."""

    def candidates(
        self, embeddings: FloatArray, k: int, least: Callable[[int], FloatArray] | None = None
    ) -> list[list[Match]]:
        """For each probe the k closest people of each number of photos.

        Args:
            embeddings: float32 [n, dim], unit length.
            k: At least 1.
            least: Gives for each probe, float32 [n], and people of so many photos a similarity; who is less similar may
                be left out, which saves time.
        """

    def search(self, embeddings: FloatArray, k: int) -> list[list[Match]]:
        """For each probe, float32 [n, dim] of unit length, the k closest people, closest first."""

    def reaching(self, embeddings: FloatArray, limit: Callable[[int], FloatArray], share: float = 0.0) -> list[int]:
        """For each probe how many people are as similar as a limit or more, which depends on the number of photos.

        Args:
            embeddings: float32 [n, dim], unit length.
            limit: Gives the limit for each probe, float32 [n], for people of so many photos.
            share: Of all people; where fewer are so similar, the answer may be 0, which saves time.
        """


class PeopleFollower(Protocol):
    """Gives the people as searched, also after a change."""

    def current(self) -> SearchedPeople:
        """The people of this moment."""

    def write(self, change: Callable[[], T]) -> T:
        """Calls what changes the store; `current` sees it."""

    def close(self) -> None:
        """Closes the store."""


class GalleryStore(Protocol):
    """People and their photos. Thread-safe; several processes may share what it keeps.

    Each change happens wholly or not at all, and is durable when its method returns. Wherever a person is asked for
    (`who`), the name or the id does. Whatever fails is a GalleryError.
    """

    @property
    def contract(self) -> Contract:
        """The models that the templates were made with."""

    @property
    def cipher(self) -> Cipher:
        """How values are stored."""

    def contents(self) -> Contents:
        """Everybody with all photos, and what was chosen for the gallery, of one moment."""

    def people(self, after: str = "", most: int | None = None) -> list[PersonSummary]:
        """People by name, from the one after a name on, at most so many."""

    def person(self, who: str) -> StoredPerson:
        """One person with all photos."""

    def owner(self, sha256: str) -> str | None:
        """The name of the person for whom a photo is enrolled; None for a photo that is not."""

    def settings(self) -> Settings:
        """What was chosen for the gallery."""

    def audit_log(self, after: int = 0, before: int | None = None, most: int | None = None) -> list[AuditEntry]:
        """Changes between two numbers, of these the last `most`, the oldest first."""

    def refusal(self, sha256: str, judge: str, name: str) -> Refusal | None:
        """Why a photo of a person was refused earlier; None for nothing that still holds."""

    def add(self, name: str, photos: Sequence[PhotoTemplate]) -> int:
        """Stores photos of a person; returns how many were new."""

    def remove(self, who: str) -> int:
        """Deletes a person, also a damaged one; returns how many photos there were."""

    def remove_photo(self, who: str, sha256: str) -> None:
        """Deletes one photo of a person, by the first characters of its stored hash."""

    def rename(self, who: str, name: str) -> None:
        """Gives a person another name; the id stays."""

    def merge(self, who: str, into: str) -> None:
        """Makes two entries one, of which the second one stays."""

    def edit(self, who: str, change_details: Callable[[Details], Details], action: str) -> None:
        """Changes what is known of a person beside name and photos."""

    def add_negative(self, who: str, embedding: FloatArray) -> None:
        """Keeps a face that is not this person's."""

    def remove_negative(self, who: str, embedding: FloatArray) -> None:
        """Takes a negative example out again."""

    def expire(self, today: str) -> list[str]:
        """Deletes everybody whose last day is over; returns their ids."""

    def remember_refusals(self, judge: str, refusals: Mapping[str, Refusal]) -> None:
        """Keeps why photos were refused, by their hashes; forgets those of other judges."""

    def log(self, action: str, detail: str) -> None:
        """Adds an entry to the audit log."""

    def set_fpir(self, fpir: float) -> None:
        """Keeps the rate chosen for the gallery."""

    def set_group(self, name: str, group: Group | None) -> None:
        """Makes or changes a group; None deletes it, if nobody is in it."""

    def set_keep_crops(self, keep: bool) -> None:
        """Whether crops of photos enrolled from now on are kept; False deletes those that were."""

    def fill(self, people: Sequence[StoredPerson], settings: Settings, fpir: float | None) -> None:
        """Puts people with their ids and details into a gallery without people."""

    def verify(self) -> list[DamagedEntry]:
        """What is damaged; empty for a whole gallery."""

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes what `verify` lists."""

    def compact(self) -> None:
        """Gives the space of deleted people back."""

    def snapshot(self, target: str | PathLike[str]) -> None:
        """Copies the gallery of this moment into a new file."""

    def close(self) -> None:
        """Ends the use of the store."""
