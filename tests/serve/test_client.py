"""The Python clients: they say what the OpenAPI document says, and do what the service does."""

from __future__ import annotations

import asyncio
import inspect

import make_client
import pytest
from tiny_models import png, portrait

from lrface.errors import ArgumentError
from lrface.serve import shapes
from lrface.serve.api import ENDPOINTS
from lrface.serve.asyncclient import AsyncClient
from lrface.serve.client import Client
from lrface.serve.clienttransport import ServiceError
from lrface.serve.openapi import document


def test_the_clients_have_each_entry_of_the_document_with_its_parameters():
    for path, operations in document(ENDPOINTS)["paths"].items():
        for operation in operations.values():
            name = operation["operationId"]
            if path.endswith("live.mjpeg"):  # for browsers
                continue
            content = operation.get("requestBody", {}).get("content", {})
            form = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
            wanted = {parameter["name"] for parameter in operation["parameters"]} | set(form)
            for client in (Client, AsyncClient):
                given = set(inspect.signature(getattr(client, name)).parameters) - {"self"}
                assert wanted <= given, f"{name}: {wanted - given}"
                assert given == wanted or "application/json" in content, f"{name}: {given - wanted}"


def test_the_document_is_whole():
    found = document(ENDPOINTS)
    names = [op["operationId"] for each in found["paths"].values() for op in each.values()]
    assert len(set(names)) == len(names) == len(ENDPOINTS)

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            yield from references(each)

    missing = {ref for ref in references(found) if ref.rpartition("/")[2] not in found["components"]["schemas"]}
    assert missing == set()
    for each in found["paths"].values():
        for operation in each.values():
            assert "default" in operation["responses"]
            assert operation["summary"].endswith(".")


def test_the_client_for_asyncio_is_the_other_one_with_await(root):
    folder = root / "lrface" / "serve"
    wanted = make_client.made((folder / "client.py").read_text("utf-8"))
    assert (folder / "asyncclient.py").read_text("utf-8") == wanted, "run python tests/helpers/make_client.py"


def test_a_program_enrols_and_identifies(server, tmp_path):
    photo = tmp_path / "gil.png"
    photo.write_bytes(png(portrait("Gil")))
    with Client(server.url, server.token) as client:
        made = client.enrol("Gil #1 ?x=%41", [photo, png(portrait("Gil", 1))])
        assert [each.status for each in made.photos] == ["enrolled", "enrolled"]
        assert made.photos[0].photo == "gil.png"
        assert client.identify(png(portrait("Gil", 2)), explain=True).faces[0].name == "Gil #1 ?x=%41"
        assert client.verify(photo, png(portrait("Gil", 1))).same_person
        renamed = client.change_person("Gil #1 ?x=%41", shapes.PersonPatch(name="Gil", retain_until="2999-01-01"))
        assert (renamed.name, renamed.retain_until) == ("Gil", "2999-01-01")
        assert client.change_person("Gil", shapes.PersonPatch(retain_until=None)).retain_until is None
        client.remove_photo("Gil", client.photos("Gil")[0].sha256)
        assert client.person(made.person.id).photos == 1
        assert client.events().events == []
        assert client.tracks().tracks == []
        assert client.cameras() == []
        assert client.seen_before("Gil") == []
        assert client.settings().unknown_days == 7
        assert client.change_settings(shapes.SettingsPatch(unknown_days=3)).unknown_days == 3
        assert client.audit(limit=1)[0].action == "retention of the service changed"
        assert client.me().role == "admin"
        assert client.ready().ready
        assert "lrface_people" in client.metrics()
        assert client.openapi()["openapi"] == "3.1.0"
        client.remove_person("Gil")
        assert client.audit(limit=1)[0].action.startswith("person removed")


def test_so_does_one_with_asyncio(server):
    async def program():
        async with AsyncClient(server.url, server.token) as client:
            await client.enrol("Hal", png(portrait("Hal")))
            pictures = [png(portrait("Hal", number)) for number in range(1, 5)]
            found = await asyncio.gather(*(client.identify(picture) for picture in pictures))
            await client.remove_person("Hal")
            return [faces.faces[0].name for faces in found]

    assert asyncio.run(program()) == ["Hal"] * 4


def test_what_cannot_be_done_is_an_error_that_says_why(server):
    with Client(server.url, server.token) as client:
        with pytest.raises(ServiceError, match="Nobody") as error:
            client.person("Nobody")
        assert error.value.status == 404
        with pytest.raises(ServiceError, match="nothing could be enrolled") as error:
            client.enrol("Ira", b"no picture")
        assert [photo["status"] for photo in error.value.problem["photos"]] == ["refused"]
        with pytest.raises(ArgumentError, match="cannot read"):
            client.identify("/missing.png")
    with Client(server.url, "wrong") as client, pytest.raises(ServiceError, match="token is wrong"):
        client.people()
    with Client("http://127.0.0.1:9", server.token) as client, pytest.raises(ServiceError, match="running"):
        client.people()
    for url, token in (("ftp://x", "t"), ("http://127.0.0.1", "Pass\nWord")):
        with pytest.raises(ArgumentError):
            Client(url, token)
