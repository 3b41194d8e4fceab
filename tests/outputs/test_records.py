"""The JSON of docs/json.md."""

from __future__ import annotations

import json
import math
import re

import pytest
from fakes import identification

from lrface.outputs.records import SCHEMA, frame_record, json_line


@pytest.fixture(scope="module")
def documented(root) -> str:
    return (root / "docs" / "json.md").read_text("utf-8")


def fields(record: dict) -> set[str]:
    return set(record) | {f for value in record.values() if isinstance(value, list) for f in inner(value)}


def inner(values: list) -> set[str]:
    return {field for value in values if isinstance(value, dict) for field in fields(value)}


def test_record_of_a_frame():
    record = frame_record("clip.mp4", 3, 0.12345, [identification("Ada", 0.5), identification()])
    assert (record["schema"], record["source"], record["frame"], record["time_s"]) == (SCHEMA, "clip.mp4", 3, 0.123)
    assert [face["name"] for face in record["faces"]] == ["Ada", None]
    assert not {"embedding", "explanation", "basis"} & fields(record)
    assert frame_record("x.jpg", 0, None, [])["time_s"] is None


def test_prose_comes_only_when_asked_for():
    face = identification("Ada", 0.5)
    (told,) = frame_record("x.jpg", 0, None, [face], explain=True)["faces"]
    assert told.pop("explanation") == face.explain()
    assert told == face.to_dict()


def test_every_field_is_documented_and_no_other(documented):
    face = identification("Ada", 0.5).to_dict()
    record = frame_record("x.jpg", 0, None, [identification("Ada", 0.5)], explain=True)
    in_tables = set(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE))
    assert fields(record) | set(face) <= in_tables
    assert f"`schema` is {SCHEMA}" in documented


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\nb", "\x9b31m", "\u202eevil", "\u200b", "\U000e0041", "\udce9", 'quote " and \\', "山田 é"]
)
def test_no_line_steers_a_terminal_and_every_reader_gets_the_text_back(text):
    line = json_line({"source": text})
    assert json.loads(line.encode("utf-8", "backslashreplace")) == {"source": text}
    assert line.replace("\udce9", "").isprintable()
    assert ("山田 é" in line) == ("山田 é" in text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_become_null(value):
    assert json.loads(json_line({"a": value, "b": [{"c": (value, 1.5)}]})) == {"a": None, "b": [{"c": [None, 1.5]}]}
