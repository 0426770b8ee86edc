"""Sums of dark frames and running pedestals: compiled against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from lima2_receivers.kernels.jungfrau_pedestal import add_dark, add_dark_reference, track, track_reference
from lima2_receivers.kernels.jungfrau_types import ERROR, MISSING, SATURATED


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_sums_and_tracking_give_what_numpy_gives(bits):
    random = np.random.default_rng(2)
    shape = (2, 8, 50)
    ours, theirs = ([np.zeros(shape, dtype) for dtype in ("i8", "i8", "u4", "u4")] for _ in range(2))
    followed = np.full(shape, 8000, "f4")
    reference, limits = followed.copy(), random.uniform(0, 6000, shape).astype("f4")
    for _ in range(4):
        stack = random.integers(0, 65536, shape).astype("u2")
        stack[0, 0, :3] = MISSING, SATURATED, ERROR
        add_dark(stack, bits, *ours)
        add_dark_reference(stack, bits, *theirs)
        taken = track(stack, bits, 0.1, limits, followed)
        assert taken == track_reference(stack, bits, 0.1, limits, reference) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(followed, reference, rtol=1e-6)
    totals, _, counts, wrong = ours
    assert counts[0, 0, 0] == wrong[0, 0, 0] == totals[0, 0, 0] == 0  # missing pixels count nowhere
    assert (wrong[0, 0, 1:3] == 4).all()
