"""People over REST: what a program enrols, lists, renames, merges and removes, and what it is told when it cannot."""

from __future__ import annotations

import pytest
import tiny_models
from tiny_models import png, portrait


def named(answer):
    return [face["name"] for face in answer.json()["faces"]]


def identify(server, picture):
    return server.http.post("/v1/identify", files={"picture": ("frame.png", png(picture), "image/png")})


def test_from_enrolment_to_removal(server):
    made = server.enrol("Ada", png(portrait("Ada")), png(portrait("Ada", 1)))
    assert made.status_code == 201, made.text
    person = made.json()["person"]
    assert (person["name"], person["photos"]) == ("Ada", 2)
    assert [photo["status"] for photo in made.json()["photos"]] == ["enrolled", "enrolled"]

    probe = tiny_models.scene(("Ada", 20, 20, 32), ("Eve", 120, 60, 40), photo=7)
    found = identify(server, probe)
    assert named(found) == ["Ada", None]
    assert found.json()["faces"][0]["person"] == person["id"]
    assert (found.json()["width"], found.json()["height"]) == (320, 240)

    changed = server.http.patch(f"/v1/people/{person['id']}", json={"name": "Ada L.", "tags": ["staff"]})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["tags"]) == ("Ada L.", ["staff"])
    assert named(identify(server, probe)) == ["Ada L.", None]

    more = server.enrol("Countess", png(portrait("Ada", 2)), force="true").json()["person"]
    merged = server.http.post(f"/v1/people/{more['id']}/merge", json={"into": person["id"]}).json()
    assert (merged["name"], merged["photos"]) == ("Ada L.", 3)
    assert server.http.get(f"/v1/people/{more['id']}").status_code == 404

    photos = server.http.get(f"/v1/people/{person['id']}/photos").json()
    assert server.http.delete(f"/v1/people/{person['id']}/photos/{photos[0]['sha256']}").status_code == 204
    assert server.http.get(f"/v1/people/{person['id']}").json()["photos"] == 2

    assert server.http.delete(f"/v1/people/{person['id']}").status_code == 204
    assert named(identify(server, probe)) == [None, None]
    assert server.http.get("/v1/people", params={"search": "Ada L"}).json()["total"] == 0


def test_each_photo_says_why_it_was_refused(server):
    answer = server.enrol("Bob", png(tiny_models.scene()), b"no picture", png(portrait("Bob")))
    assert answer.status_code == 201
    photos = answer.json()["photos"]
    assert [photo["status"] for photo in photos] == ["refused", "refused", "enrolled"]
    assert photos[0]["photo"] == "0.png"
    assert "no face" in photos[0]["reason"]

    nothing = server.enrol("Nobody", png(tiny_models.scene()))
    assert nothing.status_code == 422
    assert nothing.headers["content-type"] == "application/problem+json"
    assert [photo["status"] for photo in nothing.json()["photos"]] == ["refused"]
    assert server.http.get("/v1/people/Nobody").status_code == 404


def test_people_come_in_pages_and_by_a_part_of_the_name(server):
    for name in ("Cleo 1", "Cleo 2", "Cleo 3"):
        assert server.enrol(name, png(portrait(name))).status_code == 201
    first = server.http.get("/v1/people", params={"search": "cleo", "limit": 2}).json()
    rest = server.http.get("/v1/people", params={"search": "cleo", "limit": 2, "after": first["next"]}).json()
    assert [person["name"] for person in first["people"] + rest["people"]] == ["Cleo 1", "Cleo 2", "Cleo 3"]
    assert (first["total"], rest["next"]) == (3, None)
    listed, after, total = [], "", None
    while after is not None:
        page = server.http.get("/v1/people", params={"limit": 2, "after": after}).json()
        assert len(page["people"]) <= 2
        listed += [(person["name"], person["photos"]) for person in page["people"]]
        after, total = page["next"], page["total"]
    assert listed == sorted(listed)
    assert len(listed) == len(set(listed)) == total
    assert ("Cleo 2", 1) in listed


def test_two_pictures_are_compared(server):
    files = {"first": ("a.png", png(portrait("Dan"))), "second": ("b.png", png(portrait("Dan", 1)))}
    assert server.http.post("/v1/verify", files=files).json()["same_person"] is True
    files["second"] = ("b.png", png(portrait("Eve")))
    answer = server.http.post("/v1/verify", files=files, data={"max_false_match_rate": "0.01"}).json()
    assert answer["same_person"] is False
    assert answer["max_false_match_rate"] == 0.01


def test_the_audit_log_names_who_changed_what(server):
    server.enrol("Fay", png(portrait("Fay")))
    client, csrf = server.browser()
    answer = client.patch("/v1/people/Fay", json={"name": "Fay W."}, headers={"X-CSRF-Token": csrf})
    assert answer.status_code == 200
    entries = [each for each in server.http.get("/v1/audit").json() if each["actor"] != "lrface access"]
    assert [each["actor"] for each in entries[:2]] == ["user admin", "token admin"]
    assert "Fay" not in str(entries)
    older = server.http.get("/v1/audit", params={"before": entries[1]["number"], "limit": 2}).json()
    assert [each["number"] for each in older] == [entries[1]["number"] - 1, entries[1]["number"] - 2]


BROKEN = {"Content-Type": "multipart/form-data; boundary=x"}
WRONG = {
    "unknown field": ("PATCH", "/v1/people/Bob", {"json": {"nam": "x"}}, 422, "nam"),
    "wrong type": ("PATCH", "/v1/people/Bob", {"json": {"name": 3}}, 422, "name"),
    "no JSON": ("PATCH", "/v1/people/Bob", {"content": b"{"}, 400, "JSON"),
    "deep JSON": ("PATCH", "/v1/people/Bob", {"content": b'{"metadata": {"a": ' + b"[" * 100_000}, 400, "JSON"),
    "no text": ("PATCH", "/v1/people/Bob", {"content": b'{"name": "\xff\xfe"}'}, 400, "JSON"),
    "an empty name": ("PATCH", "/v1/people/Bob", {"json": {"name": ""}}, 422, "name"),
    "a name of dots": ("PATCH", "/v1/people/Bob", {"json": {"name": ".."}}, 422, ".."),
    "no such person": ("GET", "/v1/people/Nobody", {}, 404, "Nobody"),
    "no such photo": ("DELETE", "/v1/people/Bob/photos/abc", {}, 404, "photo"),
    "merged with nobody": ("POST", "/v1/people/Bob/merge", {"json": {"into": "Nobody"}}, 404, "Nobody"),
    "unknown parameter": ("GET", "/v1/people?limt=3", {}, 422, "limt"),
    "parameter out of range": ("GET", "/v1/people?limit=0", {}, 422, "limit"),
    "no such page": ("GET", "/v1/persons", {}, 404, "openapi"),
    "no such method": ("PUT", "/v1/people", {}, 405, "openapi"),
    "no form": ("POST", "/v1/identify", {"content": b"x"}, 415, "multipart"),
    "no picture in the form": ("POST", "/v1/identify", {"files": {"file": b"x"}}, 422, "file"),
    "text for a picture": ("POST", "/v1/identify", {"data": {"picture": "x"}, "files": {"x": b""}}, 422, "picture"),
    "a broken form": (
        "POST", "/v1/identify", {"content": b"--x\r\nnonsense", "headers": BROKEN}, (400, 422), "form",
    ),
    "a form without a boundary": (
        "POST", "/v1/identify", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "form",
    ),
    "no picture at all": ("POST", "/v1/identify", {"files": {"picture": b"<html>"}}, 422, "picture"),
    "a rate of two": (
        "POST", "/v1/verify", {"files": {"first": png(portrait("Bob")), "second": png(portrait("Bob"))},
                               "data": {"max_false_match_rate": "2"}}, 422, "share",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_told_what_is_wrong(server, case):
    method, path, what, status, word = WRONG[case]
    if server.http.get("/v1/people/Bob").status_code == 404:
        server.enrol("Bob", png(portrait("Bob")))
    answer = server.http.request(method, path, **what)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert word in problem["detail"], problem
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
