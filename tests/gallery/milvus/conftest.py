"""Galleries in Milvus only; the server, milvus-lite in a process of its own, is that of all galleries' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from milvus_server import MilvusServer
from tiny_gallery import CONTRACT

from lrface.gallery import Gallery


@pytest.fixture
def url(milvus: MilvusServer) -> str:
    return milvus.empty("staff")


@pytest.fixture
def gallery(url: str) -> Iterator[Gallery]:
    with Gallery.open(url, CONTRACT) as opened:
        yield opened
