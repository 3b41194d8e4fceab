"""Makes lrface/serve/asyncclient.py of lrface/serve/client.py: `python tests/helpers/make_client.py`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "lrface" / "serve"
_DOC = "The client for asyncio. Made of `client.py` by tests/helpers/make_client.py: change that."
_CHANGES = (
    (r'\A""".*?"""', f'"""{_DOC}"""'),
    (r"\bClient\b", "AsyncClient"),
    (r"    def (?!__init__)", "    async def "),
    (r"def __enter__", "def __aenter__"),
    (r"def __exit__", "def __aexit__"),
    (r"\bwith (AsyncClient|self)", r"async with \1"),
    (r"for face in service", "for face in (await service"),
    (r'identify\("frame\.jpg"\)\.faces', 'identify("frame.jpg")).faces'),
    (r"return self\._ask", "return await self._ask"),
    (r"self\._http\.request", "await self._http.request"),
    (r"for line in answer\.iter_lines", "async for line in answer.aiter_lines"),
    (r"answer\.read\(\)", "await answer.aread()"),
    (r"self\._http\.close", "await self._http.aclose"),
    (r"self\.close\(\)", "await self.close()"),
    (r"\bIterator\b", "AsyncIterator"),
    (r"import Iterable, AsyncIterator", "import AsyncIterator, Iterable"),
)  # fmt: skip


def made(text: str) -> str:
    for pattern, new in _CHANGES:
        text = re.sub(pattern, new, text)
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FOLDER / "asyncclient.py"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    (FOLDER / "asyncclient.py").write_text(made((FOLDER / "client.py").read_text("utf-8")), "utf-8")
