from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from training.losses import LOSSES, FirstOrder, RelationalKL


def _features(n: int = 6, d: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randn(n, d, generator=generator)


def _slow_first_order(s, t) -> float:
    total = 0.0
    for a, b in zip(s.tolist(), t.tolist(), strict=True):
        na, nb = math.sqrt(sum(x * x for x in a)), math.sqrt(sum(x * x for x in b))
        total += sum((x / na - y / nb) ** 2 for x, y in zip(a, b, strict=True))
    return total / len(s)


def _slow_relational_kl(s, t, temperature: float) -> float:
    def rows(features):
        unit = [[x / math.sqrt(sum(v * v for v in f)) for x in f] for f in features.tolist()]
        out = []
        for i, a in enumerate(unit):
            e = {
                j: math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature)
                for j, b in enumerate(unit)
                if j != i
            }
            out.append({j: v / sum(e.values()) for j, v in e.items()})
        return out

    p, q = rows(t), rows(s)
    return sum(a[j] * math.log(a[j] / b[j]) for a, b in zip(p, q, strict=True) for j in a) / len(s)


def test_first_order_is_the_mean_squared_distance_of_unit_features() -> None:
    s, t = _features()
    assert float(FirstOrder()(s, t)) == pytest.approx(_slow_first_order(s, t), rel=1e-5)


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.0), (-1.0, 4.0)])
def test_first_order_of_equal_and_opposite_features(sign: float, expected: float) -> None:
    s, _ = _features()
    assert float(FirstOrder()(s, 3 * sign * s)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_relational_kl_against_a_slow_form(temperature: float) -> None:
    s, t = _features()
    expected = _slow_relational_kl(s, t, temperature)
    assert float(RelationalKL(temperature)(s, t)) == pytest.approx(expected, rel=1e-4)


def test_relational_kl_sees_relations_only() -> None:
    """A rotation of the whole space changes every feature and no relation."""
    s, _ = _features()
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q
    assert float(RelationalKL()(s @ rotation, s)) == pytest.approx(0.0, abs=1e-5)


def test_relational_kl_in_closed_form() -> None:
    """Guide: all pairs alike, so p = 1/2. Student: one pair equal, the third orthogonal, so q = e/(e+1), 1/(e+1)."""
    guide = torch.ones(3, 2)
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    near, far = math.e / (math.e + 1), 1 / (math.e + 1)
    one = 0.5 * math.log(0.5 / near) + 0.5 * math.log(0.5 / far)
    assert float(RelationalKL(1.0)(student, guide)) == pytest.approx(2 * one / 3, rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_teach_the_student_and_leave_the_guide_alone(name: str, dtype) -> None:
    s, t = (f.to(dtype).requires_grad_() for f in _features(8, 6))
    loss = LOSSES[name]()(s, t)
    assert loss.dtype == torch.float32
    loss.backward()
    assert t.grad is None
    assert torch.isfinite(s.grad).all()
    assert s.grad.abs().sum() > 0
    exact = LOSSES[name]()(s.detach().float(), t.detach().float())
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-5)


def test_a_useless_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        RelationalKL(0.0)
