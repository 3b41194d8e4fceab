"""What all losses promise, and those that compare samples one by one. Slow forms use no code of the losses."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from training.losses import LOSSES, FirstOrder, LossContext, RelationalKL
from training.losses.base import Draws

N, D, E, K = 8, 6, 7, 5
ONE_SPACE = ("order1", "horkd", "kd", "contrast")
NEVER_ZERO = {"contrast", "cross_entropy", "crrcd", "crd", "order_c", "horkd"}
SAMPLING = ("order3", "horkd", "rkd_angle", "crrcd")


def features(n: int = N, d: int = D, e: int | None = None, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randn(n, e or d, generator=generator)


def make(name: str, d: int = D, e: int | None = None, **arguments):
    e = e or d
    torch.manual_seed(0)
    centres = torch.randn(K, e, generator=torch.Generator().manual_seed(9))
    guides = torch.randn(3 * N, e, generator=torch.Generator().manual_seed(8))
    return LOSSES[name].build(LossContext(d, e, centres, guides, K), **arguments)


LABELS = torch.tensor([0, 1, 0, 2, -1, 3, 1, -1])


def unit(rows) -> list[list[float]]:
    return [[x / math.sqrt(sum(v * v for v in row)) for x in row] for row in rows.tolist()]


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_teach_the_student_and_leave_the_guide_alone(name: str, dtype) -> None:
    s, t = (f.to(dtype).requires_grad_() for f in features())
    loss = make(name)(s, t, LABELS)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    loss.backward()
    assert t.grad is None
    assert torch.isfinite(s.grad).all()
    assert s.grad.abs().sum() > 0
    exact = make(name)(s.detach().float(), t.detach().float(), LABELS).detach()
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_autocast_does_not_lower_the_precision(name: str) -> None:
    s, t = features()
    plain = make(name)(s, t, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        assert make(name)(s, t, LABELS) == plain


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_equal_samples_give_finite_gradients(name: str) -> None:
    """The same face twice, and a student that gives one vector to all, have roots and lengths at zero."""
    s, t = features()
    s[3] = s[0]
    t[3] = t[0]
    for student in (s, torch.ones(N, D)):
        student.requires_grad_()
        make(name)(student, t, LABELS).backward()
        assert torch.isfinite(student.grad).all()
        assert student.grad.norm() < 1e4


@pytest.mark.parametrize("name", sorted(set(LOSSES) - NEVER_ZERO))
def test_a_student_that_is_its_guide_has_nothing_to_learn(name: str) -> None:
    _, t = features()
    assert float(make(name)(t, t)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["order2", "order3", "relational_kl", "rkd_distance", "rkd_angle"])
@pytest.mark.parametrize("scale", [1e-4, 3.0])
def test_relations_do_not_see_a_rotation_or_a_scale_of_the_space(name: str, scale: float) -> None:
    _, t = features()
    rotation = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1))).Q
    assert float(make(name)(scale * t @ rotation, t)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - set(ONE_SPACE)))
def test_relations_compare_spaces_of_different_dimensions(name: str) -> None:
    s, t = features(e=E)
    loss = make(name, e=E)
    s.requires_grad_()
    loss(s, t, LABELS).backward()
    assert s.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_resumed_run_goes_on_where_the_first_stopped(name: str) -> None:
    """Draws, queues and centres are in the state."""
    first, second = make(name), make(name)
    for seed in range(3):
        s, t = features(seed=seed)
        first(s, t, LABELS)
    torch.manual_seed(7)
    second.load_state_dict(first.state_dict())
    s, t = features(seed=3)
    assert second(s, t, LABELS) == first(s, t, LABELS)


@pytest.mark.parametrize("name", SAMPLING)
def test_draws_change_from_batch_to_batch(name: str) -> None:
    arguments = {"negatives": 5, "queue": 0} if name == "crrcd" else {"anchors": 2}
    if name == "horkd":
        arguments |= {"alpha": 0, "gamma": 0, "beta": 1}
    loss = make(name, **arguments)
    s, t = features()
    assert loss(s, t) != loss(s, t)


def test_draws_do_not_depend_on_torchs_own_generator() -> None:
    first, second = Draws(), Draws()
    torch.manual_seed(1)
    numbers = torch.rand(3, generator=first())
    torch.manual_seed(2)
    assert torch.equal(torch.rand(3, generator=second()), numbers)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("order1", {"temperature": 1}, "unknown temperature; known are none"),
        ("order2", {"weight": 1, "power": 2}, "unknown power, weight"),
        ("order3", {"anchor": 1}, "unknown anchor; known are anchors"),
        ("order3", {"anchors": 0}, "anchors 0: give a positive"),
        ("rkd_angle", {"anchors": -1}, "anchors -1: give a positive"),
        ("relational_kl", {"temperature": 0.0}, "temperature 0.0: give a positive"),
        ("order_c", {"momentum": 1.0}, "momentum 1.0: give one from 0"),
        ("order_c", {"centres": None}, "unknown centres; known are momentum"),
        ("horkd", {"beta": -1.0}, "give none below zero"),
        ("crrcd", {"critic": "dot"}, "give 'sigmoid' or 'crd'"),
        ("crrcd", {"negatives": 0}, "negatives 0: give a positive"),
        ("crrcd", {"queue": -1}, "queue -1: give 0 for none"),
        ("crrcd", {"partners": 0}, "partners 0"),
        ("crd", {"temperature": float("nan")}, "temperature nan"),
        ("crd", {"dim": 0}, "dim 0"),
        ("kd", {"temperature": -1}, "temperature -1"),
    ],
)
def test_useless_arguments_are_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **arguments)


@pytest.mark.parametrize("name", ["order_c", "horkd", "kd"])
@pytest.mark.parametrize(
    ("centres", "message"),
    [
        (None, "no class centres.*clusters"),
        (torch.zeros(0, D), "give finite ones"),
        (torch.full((K, D), float("nan")), "give finite ones"),
    ],
)
def test_losses_of_classes_say_what_centres_they_need(name: str, centres, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LOSSES[name].build(LossContext(D, D, centres))


def test_horkd_without_order_c_needs_no_centres() -> None:
    s, t = features()
    loss = LOSSES["horkd"].build(LossContext(D, D, None), gamma=0.0)
    loss(s, t)
    assert set(loss.monitor) == {"order1", "order2", "order3"}


@pytest.mark.parametrize(
    ("student", "guide", "labels", "message"),
    [
        ((4, D), (5, D), None, "give .n, d. and .n, e."),
        ((4,), (4, D), None, "give .n, d. and .n, e."),
        ((4, D), (4, D), 3, "one for each of the 4"),
    ],
)
def test_a_batch_that_does_not_fit_together_is_refused(student, guide, labels, message: str) -> None:
    given = None if labels is None else torch.zeros(labels, dtype=torch.int64)
    with pytest.raises(ValueError, match=message):
        FirstOrder()(torch.ones(student), torch.ones(guide), given)


@pytest.mark.parametrize(("name", "least"), [("order2", 2), ("order3", 3), ("horkd", 3), ("crd", 2), ("crrcd", 2)])
def test_a_batch_too_small_for_relations_is_refused(name: str, least: int) -> None:
    s, t = features(least - 1)
    with pytest.raises(ValueError, match=f"a batch of {least} or more"):
        make(name)(s, t, LABELS[: least - 1])


def test_first_order_and_kd_need_one_space() -> None:
    s, t = features(e=E)
    with pytest.raises(ValueError, match="6 dimensions, the guide's 7"):
        FirstOrder()(s, t)
    with pytest.raises(ValueError, match="6 dimensions, the guide's 7"):
        make("kd", e=E)


def test_first_order_is_the_mean_squared_distance_of_unit_features() -> None:
    s, t = features()
    pairs = zip(unit(s), unit(t), strict=True)
    slow = sum(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) for a, b in pairs) / N
    assert float(FirstOrder()(s, t)) == pytest.approx(slow, rel=1e-5)


def test_first_order_of_opposite_features_is_four() -> None:
    s, _ = features()
    assert float(FirstOrder()(s, -3 * s)) == pytest.approx(4, abs=1e-5)


def _softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_relational_kl_against_a_slow_form(temperature: float) -> None:
    s, t = features()

    def rows(units):
        return [_softmax([dot(a, b) / temperature for j, b in enumerate(units) if j != i]) for i, a in enumerate(units)]

    slow = sum(_kl(p, q) for p, q in zip(rows(unit(t)), rows(unit(s)), strict=True)) / N
    assert float(RelationalKL(temperature)(s, t)) == pytest.approx(slow, rel=1e-4)


def test_relational_kl_in_closed_form() -> None:
    """Guide: all pairs alike, so p = 1/2. Student: one pair equal, the third orthogonal, so q = e/(e+1), 1/(e+1)."""
    guide = torch.ones(3, 2)
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    near, far = math.e / (math.e + 1), 1 / (math.e + 1)
    one = 0.5 * math.log(0.5 / near) + 0.5 * math.log(0.5 / far)
    assert float(RelationalKL(1.0)(student, guide)) == pytest.approx(2 * one / 3, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_kd_against_a_slow_form(temperature: float) -> None:
    s, t = features()
    loss = make("kd", temperature=temperature)
    centres = unit(torch.randn(K, D, generator=torch.Generator().manual_seed(9)))
    slow = 0.0
    for a, b in zip(unit(s), unit(t), strict=True):
        p = _softmax([dot(b, c) / temperature for c in centres])
        q = _softmax([dot(a, c) / temperature for c in centres])
        slow += _kl(p, q) / N
    assert float(loss(s, t)) == pytest.approx(slow, rel=1e-4)


def test_kd_in_closed_form() -> None:
    """Two opposite centres, guide at one, student between both: q = 1/2 each, so log 2 less the guide's entropy."""
    loss = LOSSES["kd"].build(LossContext(2, 2, torch.tensor([[2.0, 0.0], [-3.0, 0.0]])), temperature=1.0)
    p = 1 / (1 + math.exp(-2))
    expected = math.log(2) + p * math.log(p) + (1 - p) * math.log(1 - p)
    assert float(loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 0.0]]))) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_that_of_the_classifiers_cosines_and_leaves_out_unknown_samples() -> None:
    s, t = features()
    loss = make("cross_entropy", scale=3.0)
    weights, found = unit(loss.weight.detach()), []
    for row, label in zip(unit(s), LABELS.tolist(), strict=True):
        if label >= 0:
            logits = [3.0 * dot(row, w) for w in weights]
            found.append(math.log(sum(math.exp(v) for v in logits)) - logits[label])
    assert float(loss(s, t, LABELS).detach()) == pytest.approx(sum(found) / len(found), rel=1e-5)
    assert float(loss(s, t)) == 0  # no labels at all
    with pytest.raises(ValueError, match="1 classes"):
        LOSSES["cross_entropy"].build(LossContext(D, D, classes=1))
