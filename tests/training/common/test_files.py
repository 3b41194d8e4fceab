"""Files are whole or not there, and a run's folder belongs to one recipe and one set of faces."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from training.common.files import log_line, read_log, replacing, save_state
from training.data.faces import FaceSet
from training.embedder.run_folder import bind_run_folder


@dataclass(frozen=True)
class Plan:
    sides: tuple[int, ...] = (16, 8)
    rate: float = 0.1


def _parse(raw: dict[str, Any], _: str) -> Plan:
    return Plan(**{**raw, "sides": tuple(raw["sides"])})


def _faces(key: str = "toy", train: int = 3) -> FaceSet:
    table = pd.DataFrame({"source": ["a"] * 2 + ["b"] * 4, "split": ["train"] * train + ["val"] * (6 - train)})
    return FaceSet(np.zeros((6, 1, 1, 3), np.uint8), table, key)


def test_what_fails_half_way_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_text("old")

    def killed() -> None:
        with replacing(path) as part:
            part.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert path.read_text() == "old"
    with replacing(path) as part:
        np.save(part, np.arange(3))  # numpy would put .npy behind another ending
    assert np.load(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_so_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state({"epoch": 1}, path)
    (tmp_path / "checkpoint.part.pt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_state({"epoch": 2, "model": torch.zeros(100_000)}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_belongs_to_one_plan_and_one_set_of_faces(tmp_path: Path) -> None:
    bind_run_folder(tmp_path, Plan(), _parse, _faces())
    bind_run_folder(tmp_path, Plan(), _parse, _faces())
    with pytest.raises(ValueError, match="another recipe"):
        bind_run_folder(tmp_path, Plan(rate=0.2), _parse, _faces())
    with pytest.raises(ValueError, match="another set of faces"):
        bind_run_folder(tmp_path, Plan(), _parse, _faces("other"))
    with pytest.raises(ValueError, match="another set of faces"):
        bind_run_folder(tmp_path, Plan(), _parse, _faces(train=4))
    assert json.loads((tmp_path / "data.json").read_text())["sources"] == {"a": 2, "b": 1}


def test_an_option_that_came_later_has_its_default_in_older_folders(tmp_path: Path) -> None:
    older = asdict(Plan())
    del older["rate"]
    (tmp_path / "recipe.json").write_text(json.dumps(older))
    bind_run_folder(tmp_path, Plan(), _parse, _faces())
    with pytest.raises(ValueError, match="another recipe"):
        bind_run_folder(tmp_path, Plan(rate=0.2), _parse, _faces())


def test_a_resumed_run_repeats_no_line_of_the_log(tmp_path: Path) -> None:
    assert read_log(tmp_path) == []
    for epoch, loss in ((1, 0.5), (2, 0.4), (3, 0.3), (2, 0.41)):
        log_line(tmp_path, {"epoch": epoch, "loss": loss}, "epoch")
    assert read_log(tmp_path) == [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.41}]
