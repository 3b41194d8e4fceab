"""Health, metrics, settings, the audit log, the OpenAPI document."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from starlette.responses import Response

from lrface import __version__
from lrface.errors import LrfaceError
from lrface.serve.access import Role
from lrface.serve.endpoint import Call, Endpoint, json_response
from lrface.serve.metrics import CONTENT_TYPE
from lrface.serve.shapes import AuditOut, HealthOut, Limit, MeOut, ReadyOut, SettingsOut, SettingsPatch


class AuditQuery(msgspec.Struct):
    """The newest come first; `before` is a number."""

    before: int | None = None
    limit: Limit = 100


async def health(call: Call) -> HealthOut:
    """Whether the process answers."""
    return HealthOut("ok", __version__)


async def ready(call: Call) -> Response:
    """Whether requests can be answered."""
    service = call.service

    def faults() -> list[str]:
        found = []
        try:
            service.matcher.gallery.search_index()
            service.store.last_event()
        except LrfaceError as error:
            found.append(str(error))
        state = None if service.watcher is None else service.watcher.state
        if state is not None and (state.error or not (state.running or state.ended)):
            found.append(f"cameras are not watched: {state.error or 'the watcher has ended'}")
        return found

    found = await service.read(faults)
    shown = found if call.identity is not None else ["log in to see what"] * bool(found)
    return json_response(ReadyOut(not found, shown), 503 if found else 200)


async def metrics(call: Call) -> Response:
    """For Prometheus."""
    return Response(await call.service.read(call.service.metrics.text), headers={"Content-Type": CONTENT_TYPE})


async def me(call: Call) -> MeOut:
    """Who asks."""
    return MeOut(call.who.name, str(call.who.role), call.who.csrf)


async def show_settings(call: Call) -> SettingsOut:
    """What was chosen."""
    service = call.service
    return await service.read(lambda: SettingsOut(service.matcher.fpir, service.known_days, service.unknown_days))


async def change_settings(call: Call) -> SettingsOut:
    """Chooses anew."""
    service, patch = call.service, call.body

    def changed() -> None:
        if patch.fpir is not UNSET:
            service.matcher.gallery.set_fpir(patch.fpir)
        known = service.known_days if patch.known_days is UNSET else patch.known_days
        unknown = service.unknown_days if patch.unknown_days is UNSET else patch.unknown_days
        service.choose_retention(known, unknown)

    await service.change(call.who, changed)
    return await show_settings(call)


async def audit(call: Call) -> list[AuditOut]:
    """Who changed what."""
    read = call.service.matcher.gallery.audit_log
    page = await call.service.read(read, before=call.query.before, most=call.query.limit)
    return [
        AuditOut(each.number, each.at, each.actor, each.action, each.person, each.detail) for each in reversed(page)
    ]


async def openapi(call: Call) -> Response:
    """The document."""
    return json_response(call.request.app.state.openapi)


ENDPOINTS = (
    Endpoint("GET", "/v1/health", None, "Say that the process answers.", health, HealthOut, client="health"),
    Endpoint("GET", "/v1/ready", None, "Say whether requests can be answered; 503 if not.", ready, ReadyOut,
             client="ready"),
    Endpoint("GET", "/v1/metrics", Role.VIEWER, "Get metrics for Prometheus.", metrics, None, media="text/plain",
             client="metrics"),
    Endpoint("GET", "/v1/me", Role.VIEWER, "Say who asks.", me, MeOut, client="me"),
    Endpoint("GET", "/v1/settings", Role.VIEWER, "Show what was chosen.", show_settings, SettingsOut,
             client="settings"),
    Endpoint("PATCH", "/v1/settings", Role.ADMIN, "Choose fpir and retention anew.", change_settings, SettingsOut,
             body=SettingsPatch, client="change_settings"),
    Endpoint("GET", "/v1/audit", Role.ADMIN, "List who changed what in the gallery.", audit, list[AuditOut], AuditQuery,
             client="audit"),
    Endpoint("GET", "/v1/openapi.json", Role.VIEWER, "Get this document.", openapi, None, client="openapi"),
)  # fmt: skip
