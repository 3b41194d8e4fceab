"""MQTT with a real broker, and what Home Assistant reads."""

from __future__ import annotations

import json
import threading

import paho.mqtt.client as paho
import pytest
from receivers import event, free_port, mosquitto, until

from lrface.outputs.delivery import Answer
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.home_assistant import CameraState, discovery, topic_name
from lrface.outputs.mqtt import Broker, Mqtt
from lrface.outputs.outbox import Waiting

PASSWORD = "s3cret-pässword"


class Listener:
    """A subscriber to everything: topic -> the texts that came, and whether the last one was retained."""

    def __init__(self, port, user=None, password=None):
        self.got: dict[str, list[str]] = {}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if user:
            self.client.username_pw_set(user, password)
        subscribed = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(20)

    def _message(self, _client, _data, message):
        self.got.setdefault(message.topic, []).append(message.payload.decode())

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    port = free_port()
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with mosquitto(folder, port, "lrface", PASSWORD):
        yield port


def test_events_states_and_discovery(tmp_path, broker):
    listener = Listener(broker, "lrface", PASSWORD)
    transport = Mqtt(Broker("127.0.0.1", broker, "lrface", PASSWORD), ["door", "yard"])
    with EventSinks(outbox=tmp_path / "outbox", transports=[transport]) as sinks:
        transport.camera_answers("door", True)
        sent = sinks.write([event(1), event(2), event(1, kind="identified", id="event-3", name="Zoë")])
        until(lambda: len(listener.got.get("lrface/door/event", [])) == 3)
        until(lambda: '"people": ["Zoë"]' in listener.got.get("lrface/door/state", [""])[-1])
        sinks.write([event(1, kind="left", id="event-4", name="Zoë")])
        until(lambda: '"in_view": 1' in listener.got["lrface/door/state"][-1])
        assert listener.got["lrface/status"] == ["online"]
    until(lambda: listener.got["lrface/status"][-1] == "offline")
    listener.close()
    assert [json.loads(text) for text in listener.got["lrface/door/event"]][:3] == sent
    assert json.loads(listener.got["lrface/door/state"][-1]) == {"people": [], "unknown": 1, "in_view": 1}
    assert listener.got["lrface/door/status"][-1] == "online"
    assert listener.got["lrface/yard/status"] == ["offline"]
    config = json.loads(listener.got["homeassistant/device/lrface_door/config"][-1])
    topics = {entity["state_topic"] for entity in config["components"].values()}
    assert topics == {"lrface/door/event", "lrface/door/state"}
    assert topics <= set(listener.got)
    assert {each["topic"] for each in config["availability"]} <= set(listener.got)
    later = Listener(broker, "lrface", PASSWORD)  # Home Assistant starts after lrface: states are retained, events not
    until(lambda: "lrface/door/state" in later.got and "homeassistant/device/lrface_yard/config" in later.got)
    later.close()
    assert "lrface/door/event" not in later.got


def test_a_broker_that_comes_back_gets_every_event(tmp_path):
    port = free_port()
    told = []
    heard = threading.Event()  # set while somebody has subscribed, who would miss what is sent before
    heard.set()

    class Held(Mqtt):
        def send(self, waiting):
            return super().send(waiting) if heard.is_set() else (Answer.AWAY, "held back")

    transport = Held(Broker("127.0.0.1", port), ["door"], home_assistant=None)
    with EventSinks(outbox=tmp_path / "outbox", transports=[transport], report=told.append) as sinks:
        sinks.write([event(1)])
        until(lambda: told)
        heard.clear()
        with mosquitto(tmp_path, port):
            listener = Listener(port)
            heard.set()
            until(lambda: "lrface/door/event" in listener.got)
        sinks.write([event(2), event(3)])  # the broker was killed
        until(lambda: len(told) >= 3)
        listener.close()
        heard.clear()
        with mosquitto(tmp_path, port):
            again = Listener(port)
            heard.set()
            until(lambda: len(again.got.get("lrface/door/event", [])) == 2)
            assert again.got["lrface/status"] == ["online"]  # retained texts are told to a broker that lost them
            again.close()
            until(lambda: not any(sinks.waiting().values()))
    got = [json.loads(text)["id"] for each in (listener, again) for text in each.got["lrface/door/event"]]
    assert got == ["event-1", "event-2", "event-3"]


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_broker_that_refuses_the_password(broker, password):
    transport = Mqtt(Broker("127.0.0.1", broker, "lrface", password), ["door"])
    answer, why = transport.send(Waiting(1, "a", json.dumps(event(1))))
    transport.close()
    assert answer is Answer.AWAY
    assert "refuses the connection (Not authorized)" in why


def test_a_broker_that_is_silent_or_not_there():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = Mqtt(Broker("127.0.0.1", silent.getsockname()[1]), ["door"], timeout_s=0.3)
        assert "stays silent" in transport.send(Waiting(1, "a", "{}"))[1]
        transport.close()
    transport = Mqtt(Broker("127.0.0.1", free_port()), ["door"], timeout_s=0.3)
    assert "does not answer" in transport.send(Waiting(1, "a", "{}"))[1]
    transport.close()


def test_the_password_is_never_shown():
    assert PASSWORD not in repr(Broker("h", 1883, "u", PASSWORD))
    assert PASSWORD not in Mqtt(Broker("h", 1883, "u", PASSWORD), []).name


@pytest.mark.parametrize(
    ("events", "people", "unknown"),
    [
        ([], [], 0),
        ([(1, "appeared", None), (2, "appeared", "Bo")], ["Bo"], 1),
        ([(1, "appeared", None), (1, "identified", "Al"), (1, "revised", "Bo")], ["Bo"], 0),
        ([(1, "identified", "Al"), (1, "revised", None)], [], 1),
        ([(1, "identified", "Al"), (2, "identified", "Al"), (1, "left", "Al")], ["Al"], 0),
        ([(1, "left", "Al")], [], 0),
    ],
)
def test_who_is_in_view(events, people, unknown):
    state = CameraState()
    for track, kind, name in events:
        state.update(event(track, kind=kind, name=name))
    told = json.loads(state.to_json())
    assert (told["people"], told["unknown"]) == (people, unknown)


@pytest.mark.parametrize("camera", ["door", "a/b", "Tür #1 +", "", "door-1", "日本"])
def test_a_name_of_any_script_is_a_topic_and_unique(camera):
    assert topic_name(camera).replace("-", "").replace("_", "").isalnum()
    assert topic_name(camera) != topic_name(camera + "+")
    assert len(discovery("homeassistant", "lrface", camera)) == 1
