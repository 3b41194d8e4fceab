from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from training.embedder.adapt import load_adaptation
from training.embedder.recipes import load_recipe

GOOD = """
name = "x"
teachers = ["a.onnx"]
[student]
level = 16
[schedule]
epochs = 1
[[losses]]
name = "order1"
"""


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[3].glob("training/recipes/*.toml")), ids=lambda p: p.stem
)
def test_shipped_recipes_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    if recipe.bank.teacher:
        labels = load_adaptation(path.parent / "adapt" / f"{recipe.bank.teacher}.toml")
        assert (labels.teachers, labels.dim) == (recipe.teachers, recipe.student.dim)


def test_recipes_of_pictures_teach_one_another() -> None:
    folder = Path(__file__).parents[3] / "training/recipes/images"
    recipes = {recipe.name: recipe for recipe in map(load_recipe, folder.glob("*.toml"))}
    student = recipes["images-student-16"]
    assistant = recipes[student.guide]
    teacher = recipes[assistant.guide]
    assert not teacher.guide
    assert len({recipe.student.dim for recipe in recipes.values()}) == 1
    # HORKD: the student has the assistant's architecture.
    assert (student.student.widths, student.student.depths) == (assistant.student.widths, assistant.student.depths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 1", "epochs = 1\nepoch = 2"), "unknown epoch; known are epochs"),
        (("epochs = 1", "epochs = 1.5"), "epochs = 1.5 is a float, expected int"),
        (('name = "order1"', 'name = "order9"'), "unknown loss 'order9'"),
        (("[[losses]]\n", "[other]\n"), r"no \[\[losses\]\]"),
        (("level = 16", "dim = 8"), "level"),
        (("level = 16", "level ="), "not TOML"),
        (('["a.onnx"]', "[]"), "no teachers"),
        (('teachers = ["a.onnx"]\n', "[images]\n"), "order1: it needs teachers or a guide"),
        (("[student]", "[images]\nsize = 2\n[student]"), "size 2"),
        (("[student]", "[images]\nhold_out = 'none'\n[student]"), "give 4 pixels or more, and classes or pictures"),
        (("[student]", "[images]\n[bank]\nteacher = 'low16'\n[student]"), "mixtures are made of faces"),
        (('["a.onnx"]', '[{ file = "a.onnx", bgr = true }]'), "unknown bgr"),
        (("level = 16", "level = 20"), "student: level 20: there is no stem"),
        (("level = 16", "level = 16\nwidths = [8, 8]"), r"student: widths = \[8, 8\], expected a list like"),
        (("level = 16", "level = 16\nwidths = [8, 8, 8.5]"), "expected a list like"),
        (("epochs = 1", "epochs = 0"), "epochs 0"),
        (("epochs = 1", "epochs = 1\nhours = 2"), "give either epochs or hours"),
        (("epochs = 1", "hours = -1"), "hours -1"),
        (("epochs = 1", "epochs = 1\noptimizer = 'sgd'"), "give adamw or muon"),
        (("level = 16", "level = 16\nnetwork = 'resnet'"), "it is for pictures"),
        (("level = 16", "level = 16\nnetwork = 'mobilefacenet'"), "reads crops of 64 or 112"),
        (("level = 16", "level = 16\nstart = 'a.onnx'"), "only a mobilefacenet can start"),
        (("[schedule]", "[degradation]\nnarrowest = 17\n[schedule]"), "narrowest 17"),
        (("[schedule]", "[degradation]\nnarrowest = 4\nsharp = 1.5\n[schedule]"), "sharp 1.5"),
        (("[schedule]", "[degradation]\nsharp = 0.5\n[schedule]"), "sharp 0.5"),
        (("epochs = 1", "epochs = 1\nema = 1.0"), "ema 1.0"),
        (("[schedule]", "[bank]\nshare = 1.0\n[schedule]"), "a share below 1"),
        (('name = "order1"', 'name = "relational_kl"\narguments = { temprature = 0.1 }'), "unknown temprature"),
        (('name = "order1"', 'name = "relational_kl"\narguments = { temperature = 0 }'), "temperature 0"),
        (('name = "order1"', 'name = "relational_kl"\narguments = 0.1'), "expected dict"),
        (("[student]\nlevel = 16", "student = 16"), "student: 16, expected a table"),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe(file)
    assert "recipe.toml" in str(caught.value)


def test_whole_numbers_serve_as_floats(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(GOOD.replace("epochs = 1", "epochs = 1\nrate = 1"))
    assert load_recipe(file).schedule.rate == 1.0
