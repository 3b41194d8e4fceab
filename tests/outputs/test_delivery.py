"""Events reach their receivers: none is lost, none is sent twice without an id that tells so."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from live_cameras import without_core
from receivers import Receiver, event, free_port, until

from lrface.errors import LrfaceError
from lrface.outputs.delivery import LONGEST_WAIT_S, Answer, Delivery, delivery_wait_s
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.outbox import Outbox
from lrface.outputs.sinks import JsonLines
from lrface.outputs.webhook import Webhook, secret_bytes, signature

SECRET = "correct-horse-battery-staple"


class Scripted:
    """A transport that answers by a script, then takes everything."""

    name = "scripted"

    def __init__(self, answers):
        self.answers, self.sent, self.closed = list(answers), [], threading.Event()

    def send(self, waiting):
        self.sent.append(waiting.id)
        answer = self.answers.pop(0) if self.answers else Answer.TAKEN
        if isinstance(answer, threading.Event):
            answer.wait(20)
            answer = Answer.AWAY
        return answer, "does not answer"

    def idle(self): ...

    def close(self):
        self.closed.set()


def deliver(tmp_path, answers, count=4):
    """What a transport with these answers was sent, the waits in between, and what was reported."""
    waits, told = [], []
    transport = Scripted(answers)
    with Outbox(tmp_path / "outbox") as outbox:
        outbox.put([transport.name], [event(i) for i in range(count)])
        delivery = Delivery(outbox, transport, report=told.append, wait=lambda _, s: waits.append(s))
        until(lambda: outbox.waiting(transport.name) == 0)
        delivery.stop()
        delivery.join(60)
    assert transport.closed.is_set()
    return transport.sent, waits, told


A, R, T = Answer.AWAY, Answer.REFUSED, Answer.TAKEN


@pytest.mark.parametrize(
    ("answers", "sent", "waits"),
    [
        ([], [0, 1, 2, 3], []),
        ([A, A, A], [0, 0, 0, 0, 1, 2, 3], [1, 2, 4]),  # the order is kept while the receiver is away
        ([T, R], [0, 1, 2, 3, 1], [1]),  # one that is refused delays no other
        ([T, A, T, A, A], [0, 1, 1, 2, 2, 2, 3], [1, 1, 2]),
    ],
)
def test_events_are_sent_in_order_and_again_after_a_failure(tmp_path, answers, sent, waits):
    got, waited, told = deliver(tmp_path, answers)
    assert got == [f"event-{i}" for i in sent]
    assert waited == waits
    assert len(told) == 2 * sum(first == 1 for first in waits)  # lost, and back


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (10**6, 300)])
def test_waits_grow_to_five_minutes(failures, seconds):
    assert delivery_wait_s(failures) == seconds <= LONGEST_WAIT_S


def test_a_receiver_that_hangs_does_not_delay_the_end(tmp_path):
    never = threading.Event()
    transport = Scripted([never])
    sinks = EventSinks(outbox=tmp_path / "outbox", transports=[transport, *(Other(str(i)) for i in range(3))])
    sinks.write([event(1)])
    until(lambda: transport.sent)
    started, waited = time.monotonic(), without_core(os.getpid())
    left = sinks.close()
    assert time.monotonic() - started - (without_core(os.getpid()) - waited) < 1.6  # one after the other: 3.2
    assert left == {"scripted": 1, "0": 1, "1": 1, "2": 1}
    never.set()


class Other(Scripted):
    """A receiver that is away."""

    def __init__(self, name):
        super().__init__([Answer.AWAY] * 100)
        self.name = name


def test_lines_and_receivers_get_the_same_events(tmp_path):
    lines = JsonLines(tmp_path / "events.jsonl")
    with (
        Receiver() as receiver,
        EventSinks(lines, tmp_path / "outbox", [Webhook(receiver.url), Webhook(receiver.url + "2")]) as sinks,
    ):
        records = [{k: v for k, v in event(i).items() if k != "id"} for i in range(3)]
        given = sinks.write(records)
        until(lambda: len(receiver.got) == 6)
        until(lambda: not any(sinks.waiting().values()))
    written = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert written == given
    assert len({record["id"] for record in given}) == 3
    assert sorted(receiver.ids) == sorted(2 * [record["id"] for record in given])
    assert [json.loads(body) for _, body in receiver.got if json.loads(body)["track"] == 1] == [given[1]] * 2


# -- outbox -----------------------------------------------------------------------------------------------------------


def test_an_outbox_keeps_what_was_not_delivered(tmp_path):
    with Outbox(tmp_path / "new" / "outbox") as outbox:
        outbox.put(["a", "b"], [event(1), event(2)])
        outbox.put(["a"], [event(1)])  # once more: it waits already
        outbox.delivered(outbox.next("a"))
    with Outbox(tmp_path / "new" / "outbox") as outbox:
        assert (outbox.next("a").id, outbox.next("b").id) == ("event-2", "event-1")
        assert (outbox.waiting("a"), outbox.waiting("b"), outbox.waiting("c")) == (1, 2, 0)
    assert (tmp_path / "new" / "outbox").stat().st_mode & 0o777 == 0o600


def test_the_oldest_events_of_a_receiver_that_is_away_too_long_are_dropped(tmp_path):
    with Outbox(tmp_path / "outbox", max_waiting=10) as outbox:
        for i in range(25):
            outbox.put(["a", "b"] if i == 3 else ["a"], [event(i)])
        assert (outbox.waiting("a"), outbox.next("a").id, outbox.dropped) == (10, "event-15", 15)
        assert outbox.next("b").id == "event-3"


@pytest.mark.parametrize(
    "value",
    ["body = substr(body, 2)", "body = '[]'", "body = CAST(x'7bff7d' AS TEXT)", "body = zeroblob(9)", "id = x'ff'",
     "id = 'a' || char(10)", "body = '" + "[" * 20_000 + "'"],
)  # fmt: skip
def test_a_damaged_event_is_left_out_and_blocks_no_other(tmp_path, caplog, value):
    path = tmp_path / "outbox"
    with Outbox(path) as outbox:
        outbox.put(["a"], [event(i) for i in range(3)])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(f"UPDATE event SET {value} WHERE number = 1")
    with Outbox(path) as outbox:
        assert [outbox.next("a").id, outbox.waiting("a")] == ["event-1", 2]
    assert "damaged event" in caplog.text


def test_dropped_events_and_receivers_that_are_gone_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Outbox.__init__, "__kwdefaults__", {"max_waiting": 2})
    told = []
    with EventSinks(outbox=tmp_path / "outbox", transports=[Other("a")], report=told.append) as sinks:
        for i in range(4):
            sinks.write([event(i)])
    assert [text for text in told if "oldest" in text] == [
        f"{tmp_path / 'outbox'} is full: the oldest events of receivers that are away are dropped"
    ]
    with EventSinks(outbox=tmp_path / "outbox", transports=[Other("b")], report=told.append):
        assert "2 events" in told[-1]
        assert "for a, which gets no events any more" in told[-1]


def test_no_byte_of_a_delivered_event_is_left(tmp_path):
    with Outbox(tmp_path / "outbox") as outbox:
        outbox.put(["a"], [event(1, name="Zoltan Unmistakable")])
        outbox.delivered(outbox.next("a"))
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Unmistakable" not in left


@pytest.mark.parametrize("at", ["while it waits", "before it comes"])
def test_no_byte_of_somebody_who_was_removed_is_left_and_others_wait_on(tmp_path, at):
    zoltan = {"person": "id of zoltan", "name": "Zoltan Unmistakable", "similarity": 0.8, "threshold": 0.5}
    events = [event(1), event(2, kind="identified", **zoltan), event(3, person="bob", name="Bob"),
              event(4, kind="left", **zoltan)]  # fmt: skip
    with Outbox(tmp_path / "outbox") as outbox:
        if at == "while it waits":
            outbox.put(["a", "b"], events)
            outbox._database.execute("UPDATE event SET body = '{\"person\": ' WHERE id = 'event-1' AND receiver = 'b'")
            assert outbox.people() == {"id of zoltan", "bob"}
            assert outbox.forget_person("id of zoltan") == 4
        else:
            outbox.forget_person("id of zoltan")
            outbox.put(["a", "b"], events)
        assert outbox.people() == {"bob"}
        left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"zoltan" not in left.lower()
        sent = []
        while waiting := outbox.next("a"):
            sent.append(json.loads(waiting.body))
            outbox.delivered(waiting)
        # a receiver that knows of the track learns that it is over, not whose it was
        assert sent == [event(1), events[2], event(4, kind="left")]
        assert outbox.forget_person("nobody") == 0


def gallery(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE person (name TEXT)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("these are my notes, not an outbox\n" * 99), "damaged or no outbox"),
        (gallery, "no outbox"),
        (lambda path: path.mkdir(), "cannot use the outbox"),
    ],
)
def test_what_is_no_outbox_is_refused_and_kept(tmp_path, make, message):
    path = tmp_path / "outbox"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LrfaceError, match=message):
        Outbox(path)
    assert before is None or path.read_bytes() == before


def test_two_processes_do_not_share_an_outbox(tmp_path):
    with Outbox(tmp_path / "outbox"), pytest.raises(LrfaceError, match="an outbox of its own"):
        Outbox(tmp_path / "outbox")


WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from receivers import event
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.webhook import Webhook
sinks = EventSinks(outbox=sys.argv[1], transports=[Webhook(sys.argv[2])])
for number in range(100_000):
    sinks.write([event(number)])
    print(number, flush=True)
"""


def test_kill_9_loses_no_event_and_a_dead_receiver_gets_them_all_later(tmp_path, root):
    port = free_port()
    command = [sys.executable, "-c", WRITER, str(tmp_path / "outbox"), f"http://127.0.0.1:{port}/hook"]
    command += [str(root), str(root / "tests" / "helpers")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(25):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        written = 25 + len(process.stdout.read().splitlines())
    with (
        Receiver([503], port) as receiver,
        EventSinks(outbox=tmp_path / "outbox", transports=[Webhook(receiver.url)]) as sinks,
    ):
        until(lambda: len(receiver.got) > written)
        until(lambda: not any(sinks.waiting().values()))
    expected = [f"event-{number}" for number in range(written)]
    assert receiver.ids[0] == "event-0"  # answered 503: later
    assert receiver.ids[1 : written + 1] == expected  # and perhaps one whose writing was not acknowledged


def test_an_event_whose_answer_is_lost_is_sent_again_with_the_same_id(tmp_path):
    with (
        Receiver([None]) as receiver,
        EventSinks(outbox=tmp_path / "outbox", transports=[Webhook(receiver.url)]) as sinks,
    ):
        sinks.write([event(1), event(2)])
        until(lambda: len(receiver.got) == 3)
    assert receiver.ids == ["event-1", "event-1", "event-2"]
    assert receiver.got[0][1] == receiver.got[1][1]


# -- webhook ----------------------------------------------------------------------------------------------------------


def send(url, secret=None, **options):
    from lrface.outputs.outbox import Waiting

    return Webhook(url, secret, **{"timeout_s": 5.0, **options}).send(Waiting(1, "msg-1", '{"name": "Zoë"}'))


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (200, Answer.TAKEN, ""),
        (204, Answer.TAKEN, ""),
        (301, Answer.AWAY, "301 Moved Permanently"),
        (400, Answer.REFUSED, "400 Bad Request"),
        (401, Answer.AWAY, "401"),
        (404, Answer.AWAY, "404"),
        (413, Answer.REFUSED, "413"),
        (429, Answer.AWAY, "429"),
        (500, Answer.REFUSED, "500"),
        (503, Answer.AWAY, "503"),
        (599, Answer.AWAY, "599"),
        (None, Answer.AWAY, "does not answer"),
    ],
)
def test_what_an_answer_means(status, answer, why):
    with Receiver([status]) as receiver:
        got, told = send(receiver.url)
        assert got is answer
        assert why in told
        assert len(receiver.got) == 1  # a redirect is not followed


def test_receivers_that_are_dead_or_silent():
    assert send(f"http://127.0.0.1:{free_port()}/")[0] is Answer.AWAY
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.2)[0] is Answer.AWAY


def test_signature_is_that_of_the_standard():
    # the example that the specification's libraries test themselves with
    key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}') == expected


def test_a_receiver_can_check_the_signature_and_sees_no_secret():
    with Receiver() as receiver:
        send(receiver.url, secret_bytes(SECRET), clock=lambda: 1_700_000_000.7)
    headers, body = receiver.got[0]
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg-1", "1700000000")
    assert headers["webhook-signature"] == signature(SECRET.encode(), "msg-1", 1_700_000_000, body.decode())
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"name": "Zoë"}
    assert SECRET not in str(receiver.got)


@pytest.mark.parametrize("secret", ["short", "whsec_notbase64!", ""])
def test_a_weak_secret_is_refused(secret):
    with pytest.raises(LrfaceError, match="secret"):
        secret_bytes(secret)


@pytest.mark.parametrize(
    "url", ["", "example.org/hook", "ftp://example.org/", "http://", "http://a b/", "http://u:s3cret@h/", "http://h:x/"]
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(LrfaceError, match="webhook") as caught:
        Webhook(url)
    assert "s3cret" not in str(caught.value)


def test_no_message_tells_the_key_in_a_url():
    webhook = Webhook("http://127.0.0.1:9/hooks/T0K3N?key=K3Y")
    _, why = send("http://127.0.0.1:9/hooks/T0K3N?key=K3Y")
    assert "T0K3N" not in webhook.name + why
    assert "K3Y" not in webhook.name + why
    assert webhook.name != Webhook("http://127.0.0.1:9/hooks/T0K3N?key=other").name
