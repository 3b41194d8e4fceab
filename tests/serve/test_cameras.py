"""Cameras in the service: events and tracks that are kept, live pictures, the review of unknown tracks."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from tiny_models import png, portrait
from tiny_service import running

CAMERAS = {"door": [["Ada", 20, 20, 64]], "yard": [["Eve", 120, 60, 80]]}


@pytest.fixture(scope="module")
def server(tmp_path_factory, models):
    """Ada, who is enrolled, and Eve, who is not, pass again and again."""
    folder = tmp_path_factory.mktemp("cameras")
    with running(folder, models) as first:
        first.enrol("Ada", png(portrait("Ada")))
    with running(folder, models, cameras=CAMERAS) as started:
        yield started


def left(server, camera):
    """The events of tracks that have left a camera."""
    path = f"/v1/events?camera={camera}&kind=left"
    return server.wait_for(path, lambda found: found["events"])["events"]


def test_who_passes_is_kept_with_crops(server):
    event = left(server, "door")[0]
    assert event["event"]["name"] == "Ada"
    track = server.http.get(f"/v1/tracks/{event['track']}").json()
    assert (track["camera"], track["name"], track["open"]) == ("door", "Ada", False)
    assert track["crops"] >= 1
    crop = server.http.get(f"/v1/tracks/{track['id']}/crop.jpg")
    assert crop.headers["content-type"] == "image/jpeg"
    height, width = cv2.imdecode(np.frombuffer(crop.content, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    assert min(height, width) >= 64
    assert server.http.get("/v1/tracks/999999").status_code == 404
    assert server.http.get(f"/v1/tracks/{track['id']}/crop.jpg?rank=9").status_code == 404
    assert {t["name"] for t in server.http.get("/v1/tracks?camera=door").json()["tracks"]} == {"Ada"}


def test_events_come_in_pages_by_filters(server):
    server.wait_for("/v1/events", lambda found: found["last"] >= 6)
    person = server.http.get("/v1/people/Ada").json()["id"]
    first = server.http.get("/v1/events?after=0&limit=2").json()["events"]
    assert [event["seq"] for event in first] == [1, 2]
    older = server.http.get(f"/v1/events?before={first[1]['seq']}").json()["events"]
    assert [event["seq"] for event in older] == [1]
    for query, wanted in ((f"person={person}", {"Ada"}), ("unknown=true", {None}), ("camera=yard", {None})):
        found = server.http.get(f"/v1/events?{query}").json()["events"]
        assert {event["event"]["name"] for event in found} == wanted or query == "unknown=true"
    assert server.http.get("/v1/events?until=2000-01-01T00:00:00Z").json()["events"] == []
    assert server.http.get("/v1/events?since=2000-01-01T00:00:00Z&limit=1").json()["events"]
    assert server.http.get("/v1/events?since=yesterday").status_code == 422


def events_of(answer, count):
    """The first events of a stream, as (id, kind, data)."""
    found, fields = [], {}
    for line in answer.iter_lines():
        if not line and "data" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
            if len(found) == count:
                return found
        name, _, value = line.partition(": ")
        fields = {} if not line else {**fields, name: value}
    return found


def test_events_come_as_they_happen_and_a_client_goes_on_where_it_was(server):
    with server.http.stream("GET", "/v1/events/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        live = events_of(answer, 3)
    assert [seq for seq, _, _ in live] == sorted(seq for seq, _, _ in live)
    assert live[0][2]["event"]["event"] == live[0][1]
    with server.http.stream("GET", "/v1/events/stream", headers={"Last-Event-ID": str(live[0][0])}) as answer:
        assert [seq for seq, _, _ in events_of(answer, 2)] == [live[1][0], live[2][0]]


def test_a_camera_is_seen_live(server):
    server.wait_for("/v1/cameras/door", lambda camera: camera["faces"])
    camera = server.wait_for("/v1/cameras/door", lambda camera: camera["fps"] > 0)
    assert camera["answers"] is True
    assert (camera["width"], camera["height"]) == (320, 240)
    assert camera["latency_p50_s"] is not None
    picture = server.http.get("/v1/cameras/door/snapshot.jpg?boxes=false").content
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)
    with server.http.stream("GET", "/v1/cameras/door/live.mjpeg") as answer:
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        got = b""
        for part in answer.iter_raw():
            got += part
            if got.count(b"--frame") >= 3:
                break
    assert got.count(b"\xff\xd8") >= 2
    assert server.http.get("/v1/cameras/attic/snapshot.jpg").status_code == 404


def test_metrics_tell_of_cameras(server):
    server.wait_for("/v1/cameras/door", lambda camera: camera["frames"] > 0)
    text = server.http.get("/v1/metrics").text
    assert 'lrface_camera_up{camera="door"} 1.0' in text
    assert "lrface_people 1.0" in text
    assert 'lrface_requests_total{method="GET",route="/v1/cameras/{camera}",status="200"}' in text


def test_somebody_who_is_enrolled_was_seen_before_and_all_can_be_undone(server):
    left(server, "yard")
    unknown = server.http.get("/v1/tracks?unknown=true&camera=yard").json()["tracks"]
    done = [track["id"] for track in unknown if not track["open"]]
    assert done
    made = server.enrol("Eve", png(portrait("Eve")))
    seen = made.json()["seen_before"]
    assert {each["track"]["camera"] for each in seen} == {"yard"}
    assert set(done) <= {each["track"]["id"] for each in seen}
    assert all(each["similarity"] >= each["threshold"] for each in seen)
    named = server.http.post("/v1/tracks/name", json={"tracks": done, "person": "Eve"}).json()
    assert named["person"]["name"] == "Eve"
    assert server.http.get(f"/v1/tracks/{done[0]}").json()["name"] == "Eve"
    again = server.http.get("/v1/people/Eve/seen-before").json()
    assert not set(done) & {each["track"]["id"] for each in again}
    assert server.http.post(f"/v1/actions/{named['action']['id']}/undo").status_code == 200
    assert server.http.post(f"/v1/actions/{named['action']['id']}/undo").status_code == 409
    assert server.http.get(f"/v1/tracks/{done[0]}").json()["name"] is None
    assert server.http.get("/v1/people/Eve").json()["photos"] == 1
    assert server.http.delete("/v1/people/Eve").status_code == 204


def test_an_unknown_is_named_from_what_the_camera_saw(server):
    left(server, "yard")
    track = next(t["id"] for t in server.http.get("/v1/tracks?camera=yard").json()["tracks"] if not t["open"])
    server.http.post("/v1/tracks/label", json={"tracks": [track], "label": "ignored"})
    assert track not in [t["id"] for t in server.http.get("/v1/tracks?unknown=true").json()["tracks"]]
    assert track in [t["id"] for t in server.http.get("/v1/tracks?label=ignored").json()["tracks"]]
    assert server.http.post("/v1/tracks/name", json={"tracks": [999999], "person": "Eve"}).status_code == 404
    assert server.http.post("/v1/tracks/name", json={"tracks": [], "person": "Eve"}).status_code == 422


def test_a_false_name_is_corrected_and_not_given_again(server):
    event = left(server, "door")[0]
    track = event["track"]
    answer = server.http.post(f"/v1/tracks/{track}/not-this-person")
    assert answer.status_code == 200, answer.text
    assert server.http.get(f"/v1/tracks/{track}").json()["name"] is None
    assert server.http.post(f"/v1/tracks/{track}/not-this-person").status_code == 409
    listed = server.http.get("/v1/actions").json()
    assert (listed[0]["kind"], listed[0]["tracks"]) == ("not this person", [track])
    log = [each["action"] for each in server.http.get("/v1/audit").json()]
    assert log[0] == "negative example added"
    server.http.post(f"/v1/actions/{answer.json()['id']}/undo")
    assert server.http.get(f"/v1/tracks/{track}").json()["name"] == "Ada"
    log = [each["action"] for each in server.http.get("/v1/audit").json()]
    assert log[:2] == ["action undone", "negative example removed"]


def test_zones_are_drawn_and_taken_back(server):
    corner = {"name": "corner", "polygon": [[0.9, 0.9], [1, 0.9], [1, 1]]}
    changed = server.http.put("/v1/cameras/door/zones", json={"zones": [corner], "masks": []})
    assert changed.status_code == 200, changed.text
    assert changed.json()["zones"][0]["name"] == "corner"
    before = server.http.get("/v1/cameras/door").json()["frames"]
    camera = server.wait_for("/v1/cameras/door", lambda camera: camera["frames"] > before + 20)
    assert camera["faces"] == []  # nobody is in the corner
    line = {"name": "", "polygon": [[0, 0], [0.5, 0.5], [1, 1]]}
    assert server.http.put("/v1/cameras/door/zones", json={"zones": [line], "masks": []}).status_code == 422
    server.http.put("/v1/cameras/door/zones", json={"zones": [], "masks": [], "chosen": False})
    assert server.http.get("/v1/cameras/door/zones").json() == {"zones": [], "masks": [], "chosen": False}
    server.wait_for("/v1/cameras/door", lambda camera: camera["faces"])


def test_removing_somebody_removes_what_was_seen_of_them(server):
    left(server, "door")
    person = server.http.get("/v1/people/Ada").json()["id"]
    assert server.http.delete("/v1/people/Ada").status_code == 204
    assert server.http.get(f"/v1/events?person={person}").json()["events"] == []
    assert server.http.get(f"/v1/tracks?person={person}").json()["tracks"] == []


def test_it_ends_although_clients_listen(server):
    """The last test of this module: it stops the service."""
    with (
        server.http.stream("GET", "/v1/events/stream") as events,
        server.http.stream("GET", "/v1/cameras/yard/live.mjpeg") as live,
    ):
        assert events.status_code == live.status_code == 200
        next(live.iter_raw())
        server.process.terminate()
        assert server.process.wait(30) == 0
    text = (server.folder / "log.txt").read_text()
    assert "Traceback" not in text, text
