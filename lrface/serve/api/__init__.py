"""The REST interface, /v1: a file for each kind of thing."""

from __future__ import annotations

from lrface.serve.api import cameras, events, operations, people, recognition, tracks
from lrface.serve.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *recognition.ENDPOINTS,
    *people.ENDPOINTS,
    *events.ENDPOINTS,
    *tracks.ENDPOINTS,
    *cameras.ENDPOINTS,
    *operations.ENDPOINTS,
)
"""All endpoints of /v1."""
