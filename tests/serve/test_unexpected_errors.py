"""What is told of an error that nobody expected: to a browser a page, to a program a problem."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import tiny_models

from lrface.serve.access import Role
from lrface.serve.app import make_app
from lrface.serve.guard import COOKIE
from lrface.serve.options import ServeOptions
from lrface.serve.service import Service


def test_an_unexpected_error_is_told_without_its_own_words(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**wanted: object) -> None:
        raise RuntimeError("secret words")

    async def asked(service: Service, cookie: str) -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(make_app(service), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", cookies={COOKIE: cookie}
        ) as client:
            return await client.get("/history", headers={"Accept": "text/html"}), await client.get("/v1/tracks")

    with tiny_models.open_matcher(":memory:", models) as matcher:
        service = Service(matcher, None, ServeOptions(tmp_path / "data"))
        try:
            service.access.add_account("admin", Role.ADMIN)
            monkeypatch.setattr(service.store, "tracks", broken)
            page, answer = asyncio.run(asked(service, service.sessions.begin("admin")))
        finally:
            service.close()
    assert page.status_code == answer.status_code == 500
    assert "its log tells more" in page.text
    assert "<h1>" in page.text
    assert answer.json()["request_id"] in answer.json()["detail"]
    assert "secret" not in page.text + answer.text
