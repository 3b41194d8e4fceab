"""The web console: pages for people who run cameras. They work without any other machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from lrface.serve.console import entry, history, live, people, review, settings, zones
from lrface.serve.console.entry import safe_target
from lrface.serve.console.rendering import FOLDER, Console

if TYPE_CHECKING:
    from lrface.serve.service import Service

__all__ = ["routes", "safe_target"]

_PARTS = (entry, live, history, review, people, settings, zones)


def routes(service: Service) -> list[BaseRoute]:
    """The routes of the console."""
    console = Console(service)
    static = Mount("/static", StaticFiles(directory=FOLDER / "static"))
    pages = [each for part in _PARTS for each in part.routes(console)]
    return [static, *pages]
