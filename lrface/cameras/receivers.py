"""Who receives the events of a `cameras.toml`: the sinks that its settings name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lrface.cameras.config import Settings
from lrface.outputs.delivery import Transport
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.mqtt import Mqtt
from lrface.outputs.sinks import JsonLines
from lrface.outputs.webhook import Webhook


@dataclass(frozen=True, slots=True)
class Receivers:
    """The sinks, and the MQTT connection among them, which also tells which cameras answer."""

    sinks: EventSinks
    mqtt: Mqtt | None

    def camera_answers(self, camera: str, answers: bool) -> None:
        """Tells those who want to know whether a camera gives frames."""
        if self.mqtt is not None:
            self.mqtt.camera_answers(camera, answers)


def open_receivers(settings: Settings, report: Callable[[str], None], lines: JsonLines | None = None) -> Receivers:
    """Connects the receivers that a file names.

    Args:
        settings: What the file says.
        report: Called with a message when a receiver is lost, and when it takes events again.
        lines: A file of JSON lines that gets the events, too.

    Raises:
        LrfaceError: The outbox cannot be used.
    """
    mqtt: Mqtt | None = None
    webhooks = [Webhook(each.url, each.secret) for each in settings.webhooks]
    if settings.mqtt is not None:
        names = [camera.name for camera in settings.cameras]
        chosen = settings.mqtt
        mqtt = Mqtt(chosen.broker, names, topic=chosen.topic, home_assistant=chosen.home_assistant)
    transports: list[Transport] = [*webhooks, *([] if mqtt is None else [mqtt])]
    return Receivers(EventSinks(lines, settings.outbox, transports, report=report), mqtt)
