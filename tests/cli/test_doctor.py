from __future__ import annotations

import shutil
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from lrface.cli import doctor
from lrface.models import manifest as models


def raising(error):
    def import_module(name: str) -> ModuleType:
        raise error

    return import_module


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (ImportError("libGL.so.1: cannot open shared object file"), "opencv-python-headless"),
        (ImportError("libgomp.so.1: cannot open shared object file"), "apt-get install libgomp1"),
        (ImportError("libgthread-2.0.so.0: no such file"), "libglib2.0-0"),
        (ModuleNotFoundError("No module named 'cv2'"), "pip install --force-reinstall opencv-python-headless"),
        (RuntimeError(), "pip install --force-reinstall opencv-python-headless"),
    ],
)
def test_import_that_fails_names_its_fix(error, fix):
    finding = doctor.check_import("cv2", "opencv-python-headless", raising(error))
    assert not finding.ok
    assert fix in finding.fix
    assert "fix:" in str(finding)


def test_import_that_works_tells_the_version():
    finding = doctor.check_import("x", "x", lambda _: SimpleNamespace(__version__="1.2"))  # type: ignore[arg-type,return-value]
    assert (finding.ok, finding.detail, finding.fix) == (True, "1.2", "")


@pytest.mark.parametrize(
    ("installed", "problems", "said"),
    [
        ({"onnxruntime-gpu", "opencv-python-headless"}, 0, ""),
        ({"onnxruntime", "onnxruntime-gpu", "opencv-python-headless"}, 1, "--no-deps onnxruntime-gpu"),
        (
            {"onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-python-headless", "insightface"},
            2,
            "insightface",
        ),
        ({"onnxruntime", "opencv-python", "opencv-contrib-python"}, 1, "pip uninstall -y opencv-python opencv-contrib"),
    ],
)
def test_doubles(installed, problems, said):
    found = list(doctor.check_doubles(installed))
    assert sum(not finding.ok for finding in found) == problems
    assert said in "\n".join(map(str, found))


def test_altered_model_is_found(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    shutil.copytree(models.models_folder(), folder)
    victim = next(folder.glob("*.onnx"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    monkeypatch.setattr(models, "models_folder", lambda: folder)
    bad = [finding for finding in doctor.check_models() if not finding.ok]
    assert [finding.what for finding in bad] == [victim.stem]
    assert "altered" in bad[0].detail
    assert "reinstall" in bad[0].fix


def test_this_installation_is_sound():
    done = subprocess.run([sys.executable, "-m", "lrface", "doctor"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for what in (
        "cv2",
        "onnxruntime",
        "device cpu",
        "device openvino",
        "device auto",
        "calibration",
        "a picture",
        "Eileen Collins",
    ):
        assert what in done.stdout


def test_no_extra_demo_is_a_note_not_a_problem(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = list(doctor.check_portraits())
    assert [finding.status for finding in found] == [doctor.NOTE] * 2
    assert "lrface[demo]" in found[0].detail
