"""The OpenAPI document, made of the endpoints' own types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_type_hints

import msgspec

from lrface import __version__
from lrface.serve.endpoint import Endpoint, Picture

_PROBLEM = {
    "type": "object",
    "description": "What is wrong, and what to do (RFC 9457).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_TEMPLATE = "#/components/schemas/{name}"


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document of these endpoints, OpenAPI 3.1."""
    kinds = [kind for each in endpoints for kind in (each.answer, each.body) if kind is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    by_kind = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        path = re.sub(r":\w+}", "}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lrface", "version": __version__, "description": "Recognises people in small faces."},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(each: Endpoint, by_kind: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if kind == "int" else "string"}}
        for name, kind in re.findall(r"{(\w+)(?::(\w+))?}", each.path)
    ]
    if each.query is not None:
        (schema,), parts = msgspec.json.schema_components([each.query], ref_template=_TEMPLATE)
        described = parts[schema["$ref"].rpartition("/")[2]]
        parameters += [
            {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": value}
            for name, value in described["properties"].items()
        ]
    answer: dict[str, Any] = {"description": "Done."}
    if each.answer is not None:
        answer["content"] = {each.media: {"schema": by_kind[repr(each.answer)]}}
    elif each.status != 204:
        answer["content"] = {each.media: {"schema": {"type": "string"}}}
    problem = {"application/problem+json": {"schema": {"$ref": _TEMPLATE.format(name="Problem")}}}
    operation: dict[str, Any] = {
        "operationId": each.client or f"{each.method.lower()}{re.sub(r'[^a-z]+', '_', each.path.lower())}".rstrip("_"),
        "summary": each.summary,
        "parameters": parameters,
        "responses": {str(each.status): answer, "default": {"description": "A problem.", "content": problem}},
    }
    if each.role is None:
        operation["security"] = []
    else:
        operation["description"] = f"For the role {each.role}, and those above it."
    if each.body is not None:
        content = {"application/json": {"schema": by_kind[repr(each.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    if each.form is not None:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _form(each.form)}}}
    return operation


def _form(kind: type[msgspec.Struct]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    file = {"type": "string", "format": "binary"}
    for name, hint in get_type_hints(kind).items():
        if hint is Picture:
            properties[name] = file
        elif hint == list[Picture]:
            properties[name] = {"type": "array", "items": file}
        else:
            properties[name] = msgspec.json.schema(hint)
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    return {"type": "object", "properties": properties, "required": required}
