"""Opens a gallery by its path: a file on this machine, or the URL of a collection in Milvus."""

from __future__ import annotations

import os
import re
from os import PathLike
from typing import TYPE_CHECKING

from lrface.errors import ContractError, GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.following import IndexFollower
from lrface.gallery.keys import Key
from lrface.gallery.protocol import GalleryStore, PeopleFollower
from lrface.gallery.store import Store

if TYPE_CHECKING:
    from lrface.gallery.milvus.store import MilvusStore

_OTHER_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
_SCHEMES = ("milvus:/", "milvus+tls:/")  # pathlib leaves one slash of two: that is refused, not taken for a file


def is_on_server(path: str | PathLike[str]) -> bool:
    """Whether a gallery's path is the URL of a collection in Milvus."""
    return os.fsdecode(path).lower().startswith(_SCHEMES)


def open_store(
    path: str | PathLike[str], contract: Contract | None, create: bool = True, key: Key | None = None
) -> GalleryStore:
    """Opens what keeps a gallery; see `Gallery.open`."""
    return _open_milvus(path, contract, create, key) if is_on_server(path) else _open_file(path, contract, create, key)


def open_followed(
    path: str | PathLike[str], contract: Contract | None, create: bool, key: Key | None
) -> tuple[GalleryStore, PeopleFollower]:
    """Opens what keeps a gallery, and what follows its people.

    Raises:
        ContractError: Also for a gallery of several networks, of an earlier version.
    """
    if is_on_server(path):
        there = _open_milvus(path, contract, create, key)
        return there, there
    store = _open_file(path, contract, create, key)
    try:
        _ = store.contract.level
    except ContractError:
        store.close()
        raise
    return store, IndexFollower(store)


def check_is_no_other_url(path: str | PathLike[str]) -> None:
    """Refuses the URL of something else than a gallery, which would be taken for a file.

    Raises:
        GalleryError: As above.
    """
    if not is_on_server(path) and _OTHER_URL.match(os.fsdecode(path)):
        raise GalleryError(
            "this URL is not a gallery's; the gallery comes first, before what is enrolled or watched: give a file, or "
            "a URL like milvus://localhost:19530/staff"
        )


def _open_file(path: str | PathLike[str], contract: Contract | None, create: bool, key: Key | None) -> Store:
    check_is_no_other_url(path)
    return Store(path, contract, create, key)


def _open_milvus(path: str | PathLike[str], contract: Contract | None, create: bool, key: Key | None) -> MilvusStore:
    from lrface.gallery.milvus.store import MilvusStore

    return MilvusStore.open(os.fsdecode(path), contract, create, key)
