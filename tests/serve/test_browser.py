"""The whole way through the console in a real browser: Debian's chromium, the models that ship, the demo's clip.

`LRFACE_SCREENSHOTS=docs/figures pytest tests/serve/test_browser.py` writes the pictures of docs/console.md. They show
the two public-domain portraits of the demo only.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
pytest.importorskip("skimage", reason="needs the extra `demo`")

from network_watch import wanted, without_route
from shell import ENVIRONMENT

from lrface.cli.demo_scene import COLLINS, HOPPER

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 240_000.0  # for what the cameras must see first: the machine may be busy with other tests
SERIOUS = ("serious", "critical")
SHOWN = ("console-live", "console-history", "console-review", "console-people", "console-settings")


@dataclass
class Started:
    """The demo's service in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    password: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("demo")
    log = folder / "log.txt"
    command = [sys.executable, "-m", "lrface", "serve", "--demo", "--port", "0", "--networks", "fast"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=ENVIRONMENT, cwd=folder, text=True)
    try:
        end = time.monotonic() + 240
        while not (found := re.search(r"lrface: (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        password = re.search(r"name admin, password (\S+)", log.read_text())
        assert password is not None
        yield Started(process, found[1], password[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@dataclass
class Walk:
    """A browser's page, and what it asked for."""

    page: Any
    folder: Path
    asked: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def check(self, name: str) -> None:
        """No serious finding of axe-core on this page; keeps a picture of it."""
        found = axe.Axe().run(self.page)
        serious = [
            (each["id"], each["help"], [node["html"][:200] for node in each["nodes"]])
            for each in found.response["violations"]
            if each["impact"] in SERIOUS
        ]
        self.page.screenshot(path=self.folder / f"{name}.jpg", type="jpeg", quality=80)
        if name in SHOWN and "LRFACE_SCREENSHOTS" in os.environ:
            shutil.copy(self.folder / f"{name}.jpg", os.environ["LRFACE_SCREENSHOTS"])
        assert not serious, f"{name}: {serious}"

    def go(self, title: str) -> None:
        """To a page by its link, with the keyboard alone."""
        self.page.get_by_role("navigation").get_by_role("link", name=title, exact=True).focus()
        self.page.keyboard.press("Enter")
        self.page.get_by_role("heading", level=1, name=title).wait_for()
        self.page.wait_for_load_state("domcontentloaded")  # with its style sheet: the deferred script comes after it


def camera_file(folder: Path) -> Path:
    """A film for Chromium's camera: two frames, alike, of a portrait."""
    picture = cv2.resize(cv2.imread(str(HOPPER.file())), (480, 640), interpolation=cv2.INTER_AREA)
    frame = cv2.imencode(".jpg", picture)[1].tobytes()
    (folder / "camera.mjpeg").write_bytes(2 * frame)
    return folder / "camera.mjpeg"


@pytest.fixture
def walk(demo: Started, tmp_path: Path) -> Iterator[Walk]:
    with sync_api.sync_playwright() as playwright:
        before = without_route()
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        camera = [
            "--use-fake-device-for-media-stream",  # this device's camera shows a portrait
            "--use-fake-ui-for-media-stream",  # and the user says yes
            f"--use-file-for-fake-video-capture={camera_file(tmp_path)}",
        ]
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", rules, *camera]
        )
        page = browser.new_context(viewport={"width": 1000, "height": 760}, color_scheme="light").new_page()
        page.set_default_timeout(60_000)
        walk = Walk(page, tmp_path)
        page.on("request", lambda request: walk.asked.append(request.url))
        page.on("pageerror", lambda error: walk.faults.append(str(error)))
        page.on("console", lambda message: walk.faults.append(message.text) if message.type == "error" else None)
        yield walk
        browser.close()
        # Chromium itself looks for routes, also with an empty page; what the console's pages ask for is in `asked`
        wanted.append(without_route() - before)


def test_login_enrol_see_live_review_undo_remove(demo: Started, walk: Walk) -> None:
    """Everything that a guard does on the first day. It waits for the demo's clip, which lasts ten seconds."""
    page = walk.page
    page.goto(f"{demo.url}/review")
    walk.check("console-login")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("wrong password")
    page.keyboard.press("Enter")
    page.get_by_text("the name or the password is wrong").wait_for()
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(demo.password)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name="Review").wait_for()  # where the browser wanted to go

    walk.go("Live")
    faces = page.get_by_role("list", name="In view now")
    faces.get_by_text(COLLINS.name).wait_for(timeout=PATIENCE_MS)
    picture = page.get_by_alt_text("Live picture of lobby")
    page.wait_for_function("picture => picture.naturalWidth > 0", arg=picture.element_handle())
    walk.check("console-live")

    # an unknown person becomes a name, and that is undone
    end = time.monotonic() + PATIENCE_MS / 1000
    walk.go("Review")
    while not page.get_by_role("button", name="Name", exact=True).count():
        assert time.monotonic() < end
        time.sleep(1)
        page.reload()
    walk.check("console-review")
    page.get_by_label("Who is it?").first.fill("Somebody")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("named Somebody").wait_for()
    walk.check("console-review-done")
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    page.get_by_role("status").get_by_text("Undone:").wait_for()
    walk.go("People")
    assert not page.get_by_role("link", name="Somebody").count()

    # a picture by this device's camera: would the clip's people be recognised by it?
    attempt = page.get_by_role("region", name="Would this photo be recognised?")
    attempt.get_by_role("button", name="Use this device's camera").press("Enter")
    attempt.get_by_role("button", name="Take a picture").press("Enter")
    attempt.get_by_text("camera-1.jpg was taken; 1 chosen.").wait_for()
    attempt.get_by_role("button", name="Try").press("Enter")
    attempt.get_by_text(re.compile("[1-9] of [0-9]+ who were in view in the last 10 minutes")).wait_for()
    walk.check("console-try")
    attempt.get_by_role("button", name="Switch the camera off").press("Enter")
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => !video.srcObject)")

    # she has left once, unknown: while she is in view, the camera names her as soon as she is enrolled
    left = "async () => (await (await fetch('/v1/tracks?unknown=true')).json()).tracks.some((track) => !track.open)"
    page.wait_for_function(left, polling=1000, timeout=PATIENCE_MS)

    # she is enrolled by upload; one file is no photo, and the page says so
    page.get_by_label("Name", exact=True).fill(HOPPER.name)
    no_photo = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    photo = {"name": "grace.jpg", "mimeType": "image/jpeg", "buffer": HOPPER.file().read_bytes()}
    dropped = page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['x'], 'dropped.jpg')); return data; }"
    )
    page.dispatch_event("#upload", "drop", {"dataTransfer": dropped})
    chosen = page.get_by_label("Photos, at most")
    assert chosen.evaluate("input => [...input.files].map((file) => file.name)") == ["dropped.jpg"]
    for files, said in (([], "No photo was chosen"), ([no_photo], "notes.txt")):  # what was filled in stays
        chosen.set_input_files(files)
        page.get_by_role("button", name="Enrol").click()
        page.get_by_role("alert").get_by_text(said).wait_for()
    page.wait_for_function(
        "() => document.querySelector('#alert').getBoundingClientRect().top >= 0", timeout=PATIENCE_MS
    )
    chosen.set_input_files([photo, no_photo])
    page.get_by_role("button", name="Enrol").click()
    result = page.locator("#result")
    result.get_by_text("1 photo taken of 2").wait_for()
    assert result.get_by_role("row", name=re.compile("notes.txt")).get_by_text("refused").count()
    result.get_by_text(f"{HOPPER.name} was here before").wait_for()
    walk.check("console-people")
    page.get_by_role("region", name="2 people are enrolled").get_by_role("link", name=HOPPER.name).wait_for()
    # the next person must not get these photos
    assert chosen.evaluate("input => input.files.length") == 0
    assert page.get_by_label("Name", exact=True).input_value() == ""
    result.get_by_role("button", name=f"These are {HOPPER.name}").click()
    page.get_by_role("status").get_by_text(f"named {HOPPER.name}").wait_for()

    walk.go("Live")
    faces.get_by_text(HOPPER.name).wait_for(timeout=PATIENCE_MS)
    walk.go("Who was here")
    page.get_by_role("img", name=re.compile(f"{HOPPER.name}, lobby")).wait_for()
    walk.check("console-history")

    walk.go("Settings")
    page.get_by_label("One stranger in so many").fill("500")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    walk.check("console-settings")

    # a zone is drawn with the mouse, and another corner is written with the keyboard
    page.get_by_role("link", name="Zones of lobby").click()
    page.get_by_role("heading", level=1, name="Zones of lobby").wait_for()
    plan = page.locator("[data-plan] svg")
    for x, y in ((20, 20), (700, 20), (700, 400)):
        plan.click(position={"x": x, "y": y})
    corners = page.get_by_label("Corners").first
    corners.press("End")
    corners.press_sequentially(", 2 95")
    page.get_by_label("Name").first.fill("desk")
    assert plan.locator("polygon").count() == 1
    walk.check("console-zones")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert page.get_by_label("Corners").first.input_value().count(",") == 3

    walk.go("People")
    page.get_by_role("link", name=HOPPER.name).click()
    page.get_by_role("heading", level=1, name=HOPPER.name).wait_for()
    walk.check("console-person")
    page.get_by_role("checkbox", name=re.compile(f"Delete {HOPPER.name}")).check()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("heading", level=1, name="People").wait_for()
    assert not page.get_by_role("link", name=HOPPER.name).count()

    page.set_viewport_size({"width": 360, "height": 740})  # a telephone: nothing is wider than the screen
    for title in ("Live", "Who was here", "Review", "People", "Settings"):
        walk.go(title)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, title
    walk.check("console-telephone")
    page.get_by_role("button", name="Log out admin").click()
    page.get_by_role("heading", level=1, name="Log in").wait_for()

    # a session that ends while the page is open: the page asks for the login, instead of standing still
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(demo.password)
    page.keyboard.press("Enter")
    walk.go("Live")
    page.context.clear_cookies()
    page.get_by_role("heading", level=1, name="Log in").wait_for()

    assert {re.match(r"\w+://[^/]+", url)[0] for url in walk.asked} == {demo.url}  # type: ignore[index]
    # the wrong password, and the two uploads without a photo
    assert [re.findall(r"status of (\d+)", each) for each in walk.faults] == [["401"], ["422"], ["422"]]
