"""What holds between any rate and any threshold, on the curves that ship."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrface.decisions.curves import CurveRecord, ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.models.manifest import models_folder

BANDS = json.loads((models_folder() / "calibration.json").read_text())["probes"]
CURVES = [msgspec.convert(item, CurveRecord).curve() for band in BANDS for item in band["curves"]]

rates = st.floats(1e-9, 1 - 1e-9)
sizes = st.integers(1, 10**6)
curves = st.sampled_from(CURVES)
similarities = st.floats(-1, 1)


@given(fpir=rates, size=sizes)
def test_the_rates_of_all_comparisons_make_the_rate_of_a_search(fpir: float, size: int) -> None:
    fmr = fmr_for(fpir, size)
    assert 0 < fmr <= fpir * (1 + 1e-9)
    assert 1 - (1 - fmr) ** size == pytest.approx(fpir, rel=1e-6, abs=1e-9)


@given(fpir=rates, small=sizes, large=sizes)
def test_more_people_leave_each_comparison_a_lower_rate(fpir: float, small: int, large: int) -> None:
    small, large = sorted((small, large))
    assert fmr_for(fpir, large) <= fmr_for(fpir, small)


@given(curve=curves, a=rates, b=rates)
def test_a_rarer_mistake_needs_a_higher_similarity(curve: ImpostorCurve, a: float, b: float) -> None:
    rare, common = sorted((a, b))
    assert curve.threshold(rare) >= curve.threshold(common)


@given(curve=curves, a=similarities, b=similarities)
def test_a_higher_similarity_is_rarer(curve: ImpostorCurve, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= curve.fmr(high) <= curve.fmr(low) <= 1


@given(curve=curves, fmr=st.floats(1e-7, 0.05))
def test_the_rate_at_the_threshold_of_a_rate_is_that_rate(curve: ImpostorCurve, fmr: float) -> None:
    common = 10.0 ** curve.log_fmr[-1]  # no threshold was measured for more common mistakes
    assert curve.fmr(curve.threshold(fmr)) == pytest.approx(min(fmr, common), rel=1e-3)


@given(curve=curves, similarity=similarities)
def test_the_rate_of_one_similarity_is_that_of_many(curve: ImpostorCurve, similarity: float) -> None:
    assert curve.log_fmr_at(similarity) == pytest.approx(float(curve.log_fmr_of(np.array([similarity]))[0]), rel=1e-12)
