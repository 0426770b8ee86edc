"""The OpenCL conversion of Jungfrau frames gives what NumPy gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jungfrau_frames import random_maps

from lima2_bliss.contract import ParameterError
from lima2_receivers.kernels.jungfrau_layout import Layout
from lima2_receivers.kernels.jungfrau_reference import correct_reference
from lima2_receivers.kernels.jungfrau_types import StageMaps, output
from lima2_receivers.kernels.opencl_devices import opencl_devices

pytest.importorskip("pyopencl")
from lima2_receivers.kernels.jungfrau_opencl import OpenclCorrector

pytestmark = pytest.mark.skipif(not opencl_devices(), reason="no OpenCL device")

SMALL = Layout(grid=(2, 2), module_shape=(8, 64), chip=4)


def any_frame() -> np.ndarray:
    random = np.random.default_rng(4)
    stack = random.integers(0, 65536, SMALL.stack_shape).astype("u2")
    stack[:, 4:] = random.integers(2900, 4000, stack[:, 4:].shape)
    stack[0, 0, :9] = 0xFFFF, 0xC000, 0x4000, 0x8000, 0x8123, 0xFFFF, 0xC000, 0x4000, 0xFFFE
    return stack


@pytest.mark.parametrize("dtype", ["float32", "int32", "int16", "uint16"])
@pytest.mark.parametrize(
    ("policy", "flip", "gap"),
    [("copy", "none", 2), ("split", "left_right", 3), ("keep", "up_down", 1), ("mask", "both", 2)],
)
def test_the_device_gives_what_numpy_gives(dtype, policy, flip, gap):
    layout = replace(SMALL, double_pixels=policy, flip=flip, chip_gap=gap)
    maps, stack = random_maps(layout.stack_shape, masked=0.05), any_frame()
    corrector = OpenclCorrector(layout, maps, output(dtype))
    out = np.full(layout.image_shape, 99, dtype)
    for _ in range(2):
        image, counts = corrector(stack, out)
        expected, expected_counts = correct_reference(stack, layout, maps, output(dtype))
        np.testing.assert_array_equal(image, expected)
        assert image is out
        assert counts == expected_counts
    corrector.close()


def test_high_gain_maps_and_changed_maps():
    maps = random_maps(SMALL.stack_shape)
    double = StageMaps(maps.pedestals.copy(), maps.factors * 2)
    stack = any_frame()
    corrector = OpenclCorrector(SMALL, maps, output(), double)
    np.testing.assert_array_equal(
        corrector(stack, high_gain=True)[0], correct_reference(stack, SMALL, double, output())[0]
    )
    np.add(maps.pedestals, 10, out=maps.pedestals)
    corrector.renew()
    np.testing.assert_array_equal(corrector(stack)[0], correct_reference(stack, SMALL, maps, output())[0])


def test_what_does_not_fit_is_refused():
    maps = random_maps(SMALL.stack_shape)
    corrector = OpenclCorrector(SMALL, maps, output())
    with pytest.raises(ValueError, match="raw stack"):
        corrector(np.zeros(SMALL.stack_shape, "i2"))
    with pytest.raises(ValueError, match="out is"):
        corrector(any_frame(), np.zeros((2, 2), "f4"))
    with pytest.raises(ValueError, match="no HG0 maps"):
        corrector(any_frame(), high_gain=True)
    with pytest.raises(ParameterError, match="no such OpenCL device"):
        OpenclCorrector(SMALL, maps, output(), device="9:9")
