"""Damaged and hostile JSON, made from a sound one."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 10**400, -(10**400), 0.5, -0.0, float("nan"), float("inf"), 1e308, "", "a\0b",
    "../x", "\u202e", "x" * 5000, [], {}, [None], [[[]]], {"": {}}, ["16", 16], "NaN", "\ud800",
]  # fmt: skip


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


def mutated(text: str, rng: random.Random) -> bytes:
    """A JSON text with some values replaced, removed or swapped, or with damaged bytes."""
    if rng.random() < 0.3:
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
    tree = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        node, key = rng.choice(places(tree) or [([tree], 0)])
        if isinstance(node, dict) and rng.random() < 0.2:
            del node[key]
        elif rng.random() < 0.2:
            other, there = rng.choice(places(tree) or [([tree], 0)])
            node[key] = other[there]
            break  # the same object in two places may now contain itself
        else:
            node[key] = copy.deepcopy(rng.choice(ODD))
    try:
        return json.dumps(tree).encode()
    except ValueError:  # it contains itself
        return text.encode()
