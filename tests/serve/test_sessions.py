"""The console's login: who gets in, what a session may do, and what other sites' pages cannot."""

from __future__ import annotations

import anyio
import httpx
import pytest
import tiny_models
from tiny_models import png, portrait

from lrface.errors import LrfaceError
from lrface.serve.access import Access, Role
from lrface.serve.app import make_app
from lrface.serve.console import safe_target
from lrface.serve.options import Limits, ServeOptions
from lrface.serve.problems import Problem
from lrface.serve.rates import RateLimit
from lrface.serve.service import Service
from lrface.serve.sessions import IDLE_S, LONGEST_S, Sessions
from lrface.serve.store import ServiceStore


def test_a_change_by_cookie_needs_the_token_of_the_page(server):
    server.enrol("Ada", png(portrait("Ada")))
    client, csrf = server.browser()
    body = {"tags": ["x"]}
    assert client.get("/v1/people").status_code == 200
    assert client.patch("/v1/people/Ada", json=body).status_code == 403
    assert client.patch("/v1/people/Ada", json=body, headers={"X-CSRF-Token": "x" * 43}).status_code == 403
    assert client.post("/logout", data={"csrf_token": "wrong"}).status_code == 403
    evil = {"X-CSRF-Token": csrf, "Origin": "https://evil.example"}
    assert client.patch("/v1/people/Ada", json=body, headers=evil).status_code == 403
    cross = {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"}
    assert client.patch("/v1/people/Ada", json=body, headers=cross).status_code == 403
    other, others = server.browser()
    assert other.patch("/v1/people/Ada", json=body, headers={"X-CSRF-Token": csrf}).status_code == 403
    assert others != csrf
    assert server.http.get("/v1/people/Ada").json()["tags"] == []
    own = {"X-CSRF-Token": csrf, "Origin": server.url}
    assert client.patch("/v1/people/Ada", json=body, headers=own).status_code == 200
    assert client.post("/logout", data={"csrf_token": csrf}).status_code == 303


def test_too_many_requests_of_one_token_are_told_when_to_ask_again(tmp_path, models):
    options = ServeOptions(tmp_path / "data", limits=Limits(rate=0.01, burst=3))
    with tiny_models.open_matcher(tmp_path / "a.gallery", models) as matcher:
        service = Service(matcher, None, options)
        tokens = [service.access.add_token(name, Role.VIEWER) for name in ("eager", "calm")]

        async def ask() -> list[httpx.Response]:
            transport = httpx.ASGITransport(make_app(service))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                order = [tokens[0]] * 5 + [tokens[1]]
                return [await client.get("/v1/me", headers={"Authorization": f"Bearer {each}"}) for each in order]

        answers = anyio.run(ask)
        service.close()
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 200]
    assert int(answers[3].headers["retry-after"]) >= 90


def test_a_login_from_another_site_is_refused(server):
    with server.anonymous() as client:
        data = {"name": "admin", "password": server.password}
        assert client.post("/login", data=data, headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_cookie_that_was_planted_is_not_logged_in(server):
    with server.anonymous() as client:
        client.cookies.set("lrface_session", "planted-by-somebody-else")
        answer = client.post("/login", data={"name": "admin", "password": server.password})
        cookie = answer.headers["set-cookie"]
        assert "planted" not in cookie
        for part in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert part in cookie
    with server.anonymous() as stranger:
        stranger.cookies.set("lrface_session", "planted-by-somebody-else")
        assert stranger.get("/v1/people").status_code == 401


def test_a_login_replaces_the_session_that_was_there(server):
    client, _ = server.browser()
    before = client.cookies["lrface_session"]
    headers = {"Origin": server.url, "X-CSRF-Token": client.get("/v1/me").json()["csrf"]}
    client.post("/login", data={"name": "admin", "password": server.password}, headers=headers)
    assert client.cookies["lrface_session"] != before
    with server.anonymous() as old:
        old.cookies.set("lrface_session", before)
        assert old.get("/v1/me").status_code == 401


def test_the_log_out_ends_the_session(server):
    client, csrf = server.browser()
    cookie = client.cookies["lrface_session"]
    assert client.post("/logout", headers={"X-CSRF-Token": csrf}).status_code == 303
    with server.anonymous() as again:
        again.cookies.set("lrface_session", cookie)
        assert again.get("/v1/me").status_code == 401


def test_what_was_wrong_too_often_must_wait_and_others_need_not():
    now = [0.0]
    wrong = RateLimit(0.1, 8, clock=lambda: now[0])
    for _ in range(8):
        assert wrong.blocked_s("ana") == 0
        wrong.wait_s("ana")
    assert 9 < wrong.blocked_s("ana") <= 10
    assert wrong.blocked_s("bob") == 0
    now[0] = 11
    assert wrong.blocked_s("ana") == 0


ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "x", "/\nx"]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_login_leads_to_no_other_site(target):
    assert safe_target(target) == "/"


def test_the_login_leads_back_to_the_page():
    assert safe_target("/people?after=B%C3%BC") == "/people?after=B%C3%BC"


def test_sessions_end(tmp_path):
    now = [0.0]
    access = Access(tmp_path / "access.json")
    access.add_account("ana", Role.ADMIN, "a long pass phrase")
    access.add_account("bob", Role.VIEWER, "another long phrase")
    store = ServiceStore(tmp_path / "service.db")
    sessions = Sessions(access, store, clock=lambda: now[0])
    idle, used, bobs = sessions.begin("ana"), sessions.begin("ana"), sessions.begin("bob")
    assert sessions.identity(bobs).role == Role.VIEWER
    access.remove("bob")
    assert sessions.identity(bobs) is None
    while now[0] <= LONGEST_S - IDLE_S / 2:
        now[0] += IDLE_S / 2
        assert sessions.identity(used) is not None
    assert sessions.identity(idle) is None
    now[0] += IDLE_S
    assert sessions.identity(used) is None
    assert store.sessions() == []
    store.close()


def test_sessions_outlive_the_process_until_the_password_is_another(tmp_path):
    access = Access(tmp_path / "access.json")
    access.add_account("ana", Role.ADMIN, "a long pass phrase")

    def open_file():
        store = ServiceStore(tmp_path / "service.db")
        return store, Sessions(access, store)

    store, sessions = open_file()
    cookie, ended = sessions.begin("ana"), sessions.begin("ana")
    before = sessions.identity(cookie)
    sessions.end(ended)
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert cookie.encode() not in kept
    assert before.csrf.encode() not in kept

    store, sessions = open_file()
    assert sessions.identity(cookie) == before
    assert sessions.identity(ended) is None
    access.add_account("ana", Role.OPERATOR, "another long phrase")
    assert sessions.identity(cookie) is None
    store.close()
    store, sessions = open_file()
    assert sessions.identity(cookie) is None
    store.close()


def test_the_gallery_s_log_tells_who_was_given_access(tmp_path, models):
    def told(change):
        with tiny_models.open_matcher(tmp_path / "a.gallery", models) as matcher:
            before = len(matcher.gallery.audit_log())
            service = Service(matcher, None, ServeOptions(tmp_path / "data"))
            change(service.access)
            service.start()
            service.close()
            entries = matcher.gallery.audit_log()[before:]
            assert {entry.actor for entry in entries} <= {"lrface access"}
            return [(entry.action, entry.detail) for entry in entries]

    assert told(lambda access: access.first_start()) == [
        ("access given", "account admin: admin"), ("access given", "token admin: admin")
    ]  # fmt: skip
    assert told(lambda access: None) == []
    assert told(lambda access: (access.add_account("ana", Role.VIEWER), access.add_account("admin", Role.ADMIN))) == [
        ("access given", "account admin: admin"), ("access given", "account ana: viewer")
    ]  # fmt: skip
    assert told(lambda access: access.remove("ana")) == [("access taken", "account ana")]


def test_roles_may_do_what_they_say(server):
    access = Access(server.folder / "data" / "access.json")  # as `lrface access` does while the service runs
    tokens = {role: access.add_token(f"a-{role}", role) for role in Role}
    may = [
        ("GET", "/v1/people", {}, Role.VIEWER),
        ("PATCH", "/v1/people/Ada", {"json": {"tags": ["x"]}}, Role.OPERATOR),
        ("PATCH", "/v1/settings", {"json": {"fpir": 0.02}}, Role.ADMIN),
        ("GET", "/v1/audit", {}, Role.ADMIN),
        ("DELETE", "/v1/people/Ada", {}, Role.ADMIN),
    ]
    server.enrol("Ada", png(portrait("Ada")))
    for method, path, what, least in may:
        for role in Role:
            answer = server.http.request(method, path, headers={"Authorization": f"Bearer {tokens[role]}"}, **what)
            assert (answer.status_code < 300) == (role >= least), (method, path, role, answer.text)
            assert answer.status_code in (200, 204, 403)
    for role in Role:
        access.remove(f"a-{role}")
    gone = server.http.get("/v1/people", headers={"Authorization": f"Bearer {tokens[Role.VIEWER]}"})
    assert gone.status_code == 401


def test_accounts_of_a_file(tmp_path):
    access = Access(tmp_path / "access.json")
    first = access.first_start()
    assert first is not None
    assert access.first_start() is None
    assert access.by_password("admin", first.password) == Role.ADMIN
    assert access.by_password("admin", "wrong") is None
    assert access.by_password("nobody", first.password) is None
    again = Access(tmp_path / "access.json")
    assert again.by_token(first.token).role == Role.ADMIN
    assert again.by_token(first.token[:-1] + "_") is None
    new = again.add_token("admin", Role.VIEWER)
    assert again.by_token(first.token) is None
    assert again.by_token(new).role == Role.VIEWER
    with pytest.raises(LrfaceError, match="last administrator"):
        again.remove("admin")
    with pytest.raises(LrfaceError, match="no account"):
        again.remove("nobody")
    with pytest.raises(LrfaceError, match="letters"):
        again.add_account("a/b", Role.ADMIN)
    with pytest.raises(LrfaceError, match="12 to"):
        again.add_account("ana", Role.ADMIN, "short")


DAMAGED = ["", "{", "[]", '{"accounts": [{"name": "a", "role": "god", "hash": "x"}]}', '{"accounts": 3}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_file_of_accounts_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "access.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(LrfaceError):
        Access(path)
    assert path.read_text() == text


def test_a_full_disk_locks_nobody_out(tmp_path, monkeypatch):
    access, store = Access(tmp_path / "access.json"), ServiceStore(tmp_path / "service.db")
    access.add_account("ana", Role.ADMIN)
    sessions = Sessions(access, store)
    kept = sessions.begin("ana")
    database = store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")  # what a full disk does

    def fill():
        for _ in range(1000):
            store.add_action("user ana", "named", {"person": None, "tracks": [], "note": "x" * 500})

    with pytest.raises(LrfaceError, match="free some space") as full:
        fill()
    assert Problem.of(full.value).status == 507
    cookies = [sessions.begin("ana") for _ in range(100)]
    assert all(sessions.identity(cookie).name == "ana" for cookie in cookies)
    assert len(store.sessions()) < 101

    # a session that is over must not come back with the next start, although its end could not be written at first
    def fail(digests):
        raise LrfaceError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "drop_sessions", fail)
        sessions.end(kept)
    assert sessions.identity(kept) is None
    database.execute("PRAGMA max_page_count = 1000000")
    sessions.end(cookies[0])
    restarted = Sessions(access, store)
    assert restarted.identity(kept) is None
    assert restarted.identity(cookies[0]) is None
    store.close()
