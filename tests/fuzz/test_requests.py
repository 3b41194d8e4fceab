"""Whatever is sent to a service ends in an answer that says what is wrong, never in a fault of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="needs the extra `serve`")

import httpx
import tiny_models
from anyio.from_thread import BlockingPortal, start_blocking_portal

from lrface.serve.access import Role
from lrface.serve.api import ENDPOINTS
from lrface.serve.app import make_app
from lrface.serve.options import Limits, ServeOptions
from lrface.serve.service import Service

STREAMS = ("/v1/events/stream", "/v1/cameras/{camera}/live.mjpeg")
PARTS = st.one_of(
    st.sampled_from(("Ada", "1", "0", "-1", "9" * 23, "..", "%00", "%2e%2e%2f", "%ff", "name", "e%CC%81")),
    st.binary(min_size=1, max_size=20).map(quote_from_bytes),
    st.text(min_size=1, max_size=10).map(lambda text: quote(text.encode(errors="replace"), safe="")),
)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
JSON = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(("name", "tags", "groups", "metadata", "retain_until", "into", "tracks", "person", "label",
                             "fpir", "known_days", "zones", "masks", "polygon", "learn", "x")),
            inner, max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip
TEXTS = ("true", "NaN", "2026-11-27T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")
QUERY = st.dictionaries(
    st.sampled_from(("after", "before", "since", "until", "limit", "camera", "person", "kind", "unknown", "search",
                     "rank", "label", "explain", "x")),
    st.one_of(st.text(max_size=12), st.integers().map(str), st.sampled_from(TEXTS)),
    max_size=3,
)  # fmt: skip


PLAIN = [each for each in ENDPOINTS if each.path not in STREAMS and each.form is None]
FORMS = [each for each in ENDPOINTS if each.form is not None]
FILES = (b"", b'; filename="a.png"', b'; filename="../../a"', b"; filename*=utf-8''%ff", b'; filename="')


class Asked:
    """A service in this process, and a client with an administrator's token."""

    def __init__(self, service: Service, portal: BlockingPortal) -> None:
        token = service.access.add_token("fuzz", Role.ADMIN)
        self._portal = portal
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(make_app(service)),
            base_url="http://127.0.0.1",
            headers={"Authorization": f"Bearer {token}"},
        )

    def answer(self, method: str, path: str, **what: Any) -> httpx.Response:
        return self._portal.call(lambda: self._http.request(method, path, **what))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("fuzz")
    models = tiny_models.write_models(folder / "models")
    with tiny_models.open_matcher(folder / "a.gallery", models) as matcher, start_blocking_portal() as portal:
        matcher.enroll("Ada", tiny_models.portrait("Ada"))
        service = Service(matcher, None, ServeOptions(folder / "data", limits=Limits(rate=1e6, burst=10**6)))
        yield Asked(service, portal)
        service.close()


def is_told(answer: httpx.Response) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["detail"]
        assert problem["status"] == answer.status_code


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_json_and_parameters(asked: Asked, data: st.DataObject) -> None:
    endpoint = data.draw(
        st.sampled_from([each for each in ENDPOINTS if each.path not in STREAMS and each.form is None])
    )
    path = re.sub(r"{[^}]*}", lambda _: data.draw(PARTS), endpoint.path)
    what: dict[str, object] = {"params": data.draw(QUERY)}
    if endpoint.body is not None:
        content = data.draw(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=40)))
        what["content"] = content
    is_told(asked.answer(endpoint.method, path, **what))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_forms(asked: Asked, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(FORMS))
    names = st.sampled_from(("picture", "photos", "first", "second", "name", "force", "max_false_match_rate", "x"))
    part = st.tuples(
        names,
        st.sampled_from(
            (b"", b'; filename="a.png"', b'; filename="../../a"', b"; filename*=utf-8''%ff", b'; filename="')
        ),
        st.one_of(st.binary(max_size=40), st.just(tiny_models.png(tiny_models.portrait("Ada"))), st.just(b"true")),
    )
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + file + b"\r\n\r\n" + value + b"\r\n"
        for name, file, value in data.draw(st.lists(part, max_size=4))
    ) + data.draw(st.sampled_from((b"--x--\r\n", b"--x", b"")))
    path = endpoint.path.replace("{person}", "Ada")
    headers = {"Content-Type": data.draw(st.sampled_from(("multipart/form-data; boundary=x", "multipart/form-data")))}
    is_told(asked.answer(endpoint.method, path, content=body, headers=headers))


@pytest.mark.parametrize("token", ["", "x", "lrf_", "lrf_000000000000_" + "A" * 43, "\u00e9", "a b", "x" * 5000])
def test_tokens(asked: Asked, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    answer = asked.answer("GET", "/v1/people", headers=headers)
    assert answer.status_code in (401, 429)
    is_told(answer)
