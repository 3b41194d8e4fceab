"""Events by MQTT, with what Home Assistant needs to show each camera as a device (extra `mqtt`)."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrface.errors import LrfaceError
from lrface.outputs.delivery import Answer
from lrface.outputs.home_assistant import CameraState, discovery, topic_name
from lrface.outputs.outbox import Waiting

_TIMEOUT_S = 10.0
_KEEPALIVE_S = 30
ONLINE, OFFLINE = "online", "offline"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and who asks.

    Attributes:
        host: Name or address.
        port: 1883; 8883 with TLS as a rule.
        user: None: nobody.
        password: Never shown.
        tls: Whether the connection is encrypted and the broker's certificate checked.
        ca_file: Certificates to trust; None: those of the machine.
        client_id: Two clients of one broker may not share it.
    """

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: Path | None = None
    client_id: str = "lrface"

    def __repr__(self) -> str:
        return f"Broker({self.host}:{self.port})"


class Mqtt:
    """Publishes each event at QoS 1 (a `Transport`); an event is taken when the broker has acknowledged it.

    Topics below `topic`: `status` ("online", "offline"; retained, also sent by the broker when lrface dies),
    `CAMERA/event`, `CAMERA/state` (retained) and `CAMERA/status` (whether the camera answers; retained).

    Args:
        broker: Where to.
        cameras: Their names.
        topic: The first part of every topic.
        home_assistant: Topic of Home Assistant's discovery ("homeassistant"); None: no discovery.
        timeout_s: For the connection, and for each acknowledgement.

    Raises:
        LrfaceError: paho-mqtt is missing.
    """

    def __init__(
        self,
        broker: Broker,
        cameras: Sequence[str],
        *,
        topic: str = "lrface",
        home_assistant: str | None = "homeassistant",
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        try:
            import paho.mqtt.client as paho
        except ImportError as error:
            raise LrfaceError("MQTT needs paho-mqtt: pip install 'lrface[mqtt]'") from error
        self.name = f"mqtt {broker.host}:{broker.port}/{topic}"
        self._paho: Any = paho
        self._broker, self._topic, self._timeout_s = broker, topic, timeout_s
        self._home_assistant = home_assistant
        self._lock = threading.Lock()
        self._states = {camera: CameraState() for camera in cameras}
        self._answering = dict.fromkeys(cameras, False)
        self._client: Any = None
        self._told: dict[str, str] = {}  # topic -> what was published there, retained

    def camera_answers(self, camera: str, answers: bool) -> None:
        """Says whether a camera gives frames; from any thread, published soon."""
        with self._lock:
            self._answering[camera] = answers

    def send(self, event: Waiting) -> tuple[Answer, str]:
        """Publishes one event, then what is in view now."""
        record = json.loads(event.body)
        camera = str(record.get("camera", ""))
        why = self._connected() or self._publish(f"{self._topic}/{topic_name(camera)}/event", event.body)
        if why:
            self._disconnect()
            return Answer.AWAY, why
        with self._lock:
            self._states.setdefault(camera, CameraState()).update(record)
        self.idle()
        return Answer.TAKEN, ""

    def idle(self) -> None:
        """Publishes what changed: which cameras answer, what is in view; connects where there is no connection."""
        if self._connected() or any(self._publish(*each, retain=True) for each in self._news()):
            self._disconnect()

    def close(self) -> None:
        """Says that lrface is offline, and leaves."""
        if self._client is not None and self._client.is_connected():
            self._publish(f"{self._topic}/status", OFFLINE, retain=True, timeout_s=0.5)
        self._disconnect()

    def _news(self) -> list[tuple[str, str]]:
        """Topics whose retained text is not what it should be."""
        with self._lock:
            wanted = {f"{self._topic}/status": ONLINE}
            for camera, answers in self._answering.items():
                wanted[f"{self._topic}/{topic_name(camera)}/status"] = ONLINE if answers else OFFLINE
            for camera, state in self._states.items():
                wanted[f"{self._topic}/{topic_name(camera)}/state"] = state.to_json()
            if self._home_assistant is not None:
                for camera in self._states:
                    wanted |= discovery(self._home_assistant, self._topic, camera)
        return [(topic, text) for topic, text in wanted.items() if self._told.get(topic) != text]

    def _connected(self) -> str:
        """Connects where there is no connection; why there is none, or ""."""
        if self._client is not None and self._client.is_connected():
            return ""
        self._disconnect()
        paho, broker = self._paho, self._broker
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=broker.client_id)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        client.will_set(f"{self._topic}/status", OFFLINE, qos=1, retain=True)
        answered = threading.Event()
        reasons: list[str] = []

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            reasons.append(str(reason) if reason.is_failure else "")
            answered.set()

        client.on_connect = on_connect
        try:
            if broker.tls:
                client.tls_set(None if broker.ca_file is None else str(broker.ca_file))
            client.connect_timeout = self._timeout_s
            client.connect(broker.host, broker.port, _KEEPALIVE_S)
        except (OSError, ValueError) as error:  # also what TLS raises
            return f"does not answer ({getattr(error, 'strerror', None) or error})"
        client.loop_start()
        self._client = client
        if not answered.wait(self._timeout_s):
            return "accepts the connection and stays silent"
        return f"refuses the connection ({reasons[0]})" if reasons[0] else ""

    def _publish(self, topic: str, text: str, *, retain: bool = False, timeout_s: float | None = None) -> str:
        """Publishes and waits for the broker's acknowledgement; why there is none, or ""."""
        try:
            message = self._client.publish(topic, text, qos=1, retain=retain)
            message.wait_for_publish(self._timeout_s if timeout_s is None else timeout_s)
            if not message.is_published():
                return "does not acknowledge"
        except (RuntimeError, ValueError) as error:
            return f"does not take it ({error})"
        if retain:
            self._told[topic] = text
        return ""

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        self._told.clear()  # the broker may be another one next time, or have lost what it retained
        if client is not None:  # a new client next time: this one would send again what it believes is on its way
            client.disconnect()
            client.loop_stop()
