"""The documentation: it builds without a warning, loads nothing from elsewhere, and names every command and option."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

import lrface
from lrface.cli.app import cli

pytest.importorskip("zensical")

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}


class Loads(HTMLParser):
    """Addresses that a browser fetches when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADED and given.get("rel") not in NOT_LOADED and (address := given.get(LOADED[tag])):
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for page in [*root.glob("*.md"), root / "zensical.toml"]:
        shutil.copy(page, folder)
    for part in ("docs", "lrface"):
        shutil.copytree(root / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "_models"))
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "site"


def test_the_site_loads_nothing_from_elsewhere_and_all_that_is_there(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]  # whose links begin at the site's root
    assert len(pages) > 10
    for page in pages:
        addresses = Loads(page.read_text("utf-8")).addresses
        assert any(".css" in address for address in addresses), f"{page.name}: no style sheet, so the test sees nothing"
        for address in addresses:
            assert not re.match(r"([a-z]+:)?//", address), f"{page.name} loads {address}"
            assert (page.parent / address.partition("?")[0]).is_file(), f"{page.name}: {address} is missing"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_the_reference_describes_every_exported_name(site: Path) -> None:
    text = (site / "reference.html").read_text("utf-8")
    missing = [name for name in lrface.__all__ if f"lrface.{name}" not in text and f"errors.{name}" not in text]
    assert missing == ["__version__"]


def commands(group: click.Group, path: tuple[str, ...] = ("lrface",)) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_and_option_is_described(root: Path) -> None:
    text = (root / "docs" / "command-line.md").read_text("utf-8")
    listed = {}
    for line in re.findall(r"^\| `(--[\w-]+)[^`]*`[^|]*\| ([^|]*) \|", text, re.MULTILINE):
        listed[line[0]] = {name.strip() for name in line[1].split(",")}
    for name, command in commands(cli):
        assert f"| `{name}" in text, f"docs/command-line.md does not name {name}"
        short = name.removeprefix("lrface ")
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in listed, f"docs/command-line.md does not name {option.opts[0]}"
                given = listed[option.opts[0]]
                assert short in given or short.split()[0] in given, f"{option.opts[0]} of {short}"
    known = {option.opts[0] for _, command in commands(cli) for option in command.params}
    assert set(listed) <= known, "docs/command-line.md names an option that is gone"


def test_the_tree_names_each_room_and_no_other(root: Path) -> None:
    tree = re.search(r"```\n(.*?)```", (root / "docs" / "architecture.md").read_text("utf-8"), re.DOTALL)
    assert tree
    named: dict[str, set[str]] = {}
    for line in tree[1].splitlines():
        if line and not line.startswith(" "):
            package = line.split()[0].rstrip("/")
            named[package] = set()
        elif line:
            named[package].add(line.split()[0].rstrip("/"))
    for package, rooms in named.items():
        assert all((root / package / room).exists() for room in rooms), package
    for package in ("lrface", "training"):
        there = {
            path.name for path in (root / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        assert named[package] == there - {"__init__.py", "__main__.py"}
    folders = {path.name for path in (root / "benchmarks").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert named["benchmarks"] == folders


def test_files_and_calls_of_the_architecture_exist(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text("utf-8")
    files = re.findall(r"`((?:lrface|training)/[\w/]+\.py)`", page)
    assert len(files) > 20
    assert [file for file in files if not (root / file).is_file()] == []
    for where, calls in re.findall(r"^\| \d+ \| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", where)
        paths = [root / first, *((root / first).parent / other for other in others)]
        defined = set(
            re.findall(r"^\s*(?:def|class) (\w+)", "\n".join(path.read_text() for path in paths), re.MULTILINE)
        )
        called = {name for call in re.findall(r"`([^`]+)`", calls) for name in call.split(".")}
        assert called <= defined, f"{where}: {called - defined}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_the_files_beside_the_code_lead_somewhere(root: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (root / page).read_text("utf-8"))
    assert all((root / link).exists() for link in links if "://" not in link), links
