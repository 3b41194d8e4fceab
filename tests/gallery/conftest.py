"""Galleries of every kind: what holds for one holds for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from milvus_server import MilvusServer
from tiny_gallery import CONTRACT

from lrface.gallery import Gallery


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A server for all tests of a process."""
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["file", "milvus"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a gallery may be made that others can open too."""
    if request.param == "file":
        return str(tmp_path / "Büro staff?.gallery")
    server: MilvusServer = request.getfixturevalue("milvus")
    return server.empty("staff")


@pytest.fixture(params=["file", "memory", "milvus"])
def gallery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gallery]:
    """An open gallery without people."""
    if request.param == "milvus":
        server: MilvusServer = request.getfixturevalue("milvus")
        path = server.empty("staff")
    else:
        path = str(tmp_path / "Büro staff?.gallery") if request.param == "file" else ":memory:"
    with Gallery.open(path, CONTRACT) as opened:
        yield opened
