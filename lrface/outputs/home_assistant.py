"""What Home Assistant reads from MQTT: a device for each camera, and what is in view of it now."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from lrface import __version__

EVENTS = ("appeared", "identified", "revised", "left")


def topic_name(camera: str) -> str:
    """The camera's name as a part of a topic: letters, digits, `_` and `-` of ASCII; others change it to be unique."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", camera)
    return plain if plain == camera and camera else f"{plain}-{hashlib.sha256(camera.encode()).hexdigest()[:6]}"


class CameraState:
    """Who is in view of one camera, by its events."""

    def __init__(self) -> None:
        self._tracks: dict[Any, str | None] = {}

    def update(self, record: Mapping[str, Any]) -> None:
        """Takes one event."""
        if record.get("event") == "left":
            self._tracks.pop(record.get("track"), None)
        else:
            self._tracks[record.get("track")] = record.get("name")

    def to_json(self) -> str:
        """`people` (names, sorted), `unknown` (faces without a name), `in_view` (all of them)."""
        names = sorted({name for name in self._tracks.values() if name is not None})
        unknown = sum(name is None for name in self._tracks.values())
        return json.dumps({"people": names, "unknown": unknown, "in_view": len(self._tracks)}, ensure_ascii=False)


def discovery(prefix: str, topic: str, camera: str) -> dict[str, str]:
    """Home Assistant's configuration of one camera.

    Args:
        prefix: Home Assistant's discovery topic, "homeassistant" as it is shipped.
        topic: The first part of lrface's topics.
        camera: Its name.

    Returns:
        Topic -> retained JSON: one device with four entities (the last event, who is in view, how many, whether
        anybody is).
    """
    name = topic_name(camera)
    unique = f"{topic_name(topic)}_{name}"
    own = f"{topic}/{name}"
    event = (
        "{{ {'event_type': value_json.event, 'name': value_json.name, 'track': value_json.track, "
        "'similarity': value_json.similarity} | tojson }}"
    )
    state: dict[str, Any] = {"state_topic": f"{own}/state"}
    entities: dict[str, dict[str, Any]] = {
        "event": {
            "platform": "event",
            "name": "Face",
            "state_topic": f"{own}/event",
            "event_types": list(EVENTS),
            "value_template": event,
            "icon": "mdi:face-recognition",
        },
        "people": {
            **state,
            "platform": "sensor",
            "name": "People",
            "value_template": "{{ (value_json.people | join(', ') or 'nobody')[:255] }}",
            "json_attributes_topic": f"{own}/state",
            "icon": "mdi:account-multiple",
        },
        "in_view": {
            **state,
            "platform": "sensor",
            "name": "Faces in view",
            "value_template": "{{ value_json.in_view }}",
            "state_class": "measurement",
        },
        "occupied": {
            **state,
            "platform": "binary_sensor",
            "name": "Somebody in view",
            "device_class": "occupancy",
            "value_template": "{{ 'ON' if value_json.in_view > 0 else 'OFF' }}",
        },
    }
    for key, entity in entities.items():
        entity["unique_id"] = f"{unique}_{key}"
    config = {
        "device": {"identifiers": [unique], "name": camera, "manufacturer": "lrface", "sw_version": __version__},
        "origin": {"name": "lrface", "sw_version": __version__},
        "availability": [{"topic": f"{topic}/status"}, {"topic": f"{own}/status"}],
        "availability_mode": "all",
        "components": entities,
    }
    return {f"{prefix}/device/{unique}/config": json.dumps(config, ensure_ascii=False)}
