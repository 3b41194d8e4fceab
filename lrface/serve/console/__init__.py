"""The web console: pages for people who run cameras. They work without any other machine."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from lrface.serve.console import entry, history, live, people, review, settings, zones
from lrface.serve.console.entry import safe_target
from lrface.serve.console.rendering import FOLDER, Console

__all__ = ["routes", "safe_target"]

_PARTS = (entry, live, history, review, people, settings, zones)


def routes(console: Console) -> list[BaseRoute]:
    """The routes of the console."""
    static = Mount("/static", StaticFiles(directory=FOLDER / "static"))
    pages = [each for part in _PARTS for each in part.routes(console)]
    return [static, *pages]
