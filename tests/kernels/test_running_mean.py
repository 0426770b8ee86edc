"""Running mean of corrected frames: equal to the plain sum, whatever the pixel type."""

import numpy as np
import pytest

from lima2_receivers.kernels.running_mean import RunningMean, running_mean_reference
from lima2_receivers.kernels.smx_types import PixelCorrections

SHAPE = (5, 7)
RANDOM = np.random.default_rng(3)
DARK = RANDOM.normal(2, 1, SHAPE).astype("f4").ravel()
NORM = RANDOM.uniform(0.5, 1.5, SHAPE).astype("f4").ravel()
NORM[3] = 0.0
MASKED = RANDOM.random(SHAPE).ravel() < 0.2


def frames(dtype, number=9):
    return [RANDOM.integers(0, 90, SHAPE).astype(dtype) for _ in range(number)]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "f4"])
@pytest.mark.parametrize(
    "corrections",
    [
        PixelCorrections(),
        PixelCorrections(dark=DARK, normalization=NORM, masked=MASKED),
        PixelCorrections(dark=DARK, dummy=(7.0, 1.0)),
    ],
)
def test_it_equals_the_reference(dtype, corrections):
    stack = frames(dtype)
    mean = RunningMean(SHAPE, np.dtype(dtype), corrections)
    mean.add(stack[0])
    mean.reset()
    for frame in stack:
        mean.add(frame)
    out = np.empty(SHAPE, np.float32)
    mean.corrected(out)
    expected = running_mean_reference(stack, corrections)
    assert np.array_equal(np.isnan(out), np.isnan(expected))
    assert np.allclose(out, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_pixels_that_are_not_numbers_are_left_out():
    stack = frames("f4")
    stack[2][1, 1] = np.nan
    for frame in stack:
        frame[0, 0] = np.inf
    mean = RunningMean(SHAPE, np.dtype("f4"), PixelCorrections())
    for frame in stack:
        mean.add(frame)
    out = np.empty(SHAPE, np.float32)
    mean.corrected(out)
    assert np.isnan(out[0, 0])
    assert out[1, 1] == pytest.approx(np.mean([frame[1, 1] for place, frame in enumerate(stack) if place != 2]))


def test_sums_of_saturated_pixels_do_not_wrap_around():
    full = np.full(SHAPE, 65535, "u2")
    mean = RunningMean(SHAPE, full.dtype, PixelCorrections())
    for _ in range(65537 + 10):
        mean.add(full)
    out = np.empty(SHAPE, np.float32)
    mean.corrected(out)
    assert (out == 65535).all()
