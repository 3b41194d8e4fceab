"""The table and the examples of docs/api.md: every exported name is in it, and each example runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest

import lrface
from lrface.cli.demo_scene import COLLINS, HOPPER, render, write_clip

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "api.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SAYS = (
    r"two people.*Not the same person",
    r"(\(\d.*\(\d+,\)\n){2}",
    r"enrolled\n(.*\n)*Ada [0-9a-f-]{36} match",
    r"no such file",
    r"0\.0 Ada\n(.*\n)*4 \[\('Ada', \d\)\]",
    r"Ada 1\n",
    r"(\(\d.*\n){2}",
    r"max_false_match_rate is 2",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page says is in the working folder, and a gallery with one person."""
    made = tmp_path_factory.mktemp("api")
    for name, portrait in (("ada.jpg", COLLINS), ("grace.jpg", HOPPER)):
        cv2.imwrite(str(made / name), cv2.imread(str(portrait.file())))
    frames = [image for number, (image, _) in enumerate(render((COLLINS, HOPPER))) if 50 <= number < 70]
    cv2.imwrite(str(made / "frame.jpg"), frames[0])
    write_clip(made / "clip.avi", iter(frames))
    with lrface.FaceMatcher.open(made / "known.gallery") as matcher:
        matcher.enroll("Ada", made / "ada.jpg")
    return made


@pytest.mark.parametrize(("code", "says"), list(zip(EXAMPLES, SAYS, strict=True)))
def test_each_example_runs(
    code: str,
    says: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/api.md", "exec"), {"__name__": "example"})
    assert re.search(says, said := capsys.readouterr().out, re.DOTALL), said
    assert not (tmp_path / "stuff.gallery").exists()


def test_every_exported_name_is_on_the_page() -> None:
    named = set(re.findall(r"`(?:lrface\.)?(\w+)`", PAGE))
    errors = {name for name in lrface.__all__ if name.endswith("Error")}
    assert set(lrface.__all__) - errors - named == {"__version__"}
