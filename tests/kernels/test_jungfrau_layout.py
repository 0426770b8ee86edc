"""Where Jungfrau pixels lie: the documented 4M geometry, round trips for any grid, compiled against NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_receivers.kernels.jungfrau import Assembler
from lima2_receivers.kernels.jungfrau_layout import (
    MASK_GAP,
    MASK_VIRTUAL,
    Layout,
    assemble_reference,
    disassemble,
    image_mask,
    turned,
)

layouts = st.builds(
    Layout,
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    chip_gap=st.integers(0, 5),
    module_gap=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    flip=st.sampled_from(["none", "up_down", "left_right", "both"]),
    double_pixels=st.sampled_from(["copy", "split", "keep", "mask"]),
    module_shape=st.sampled_from([(4, 8), (8, 8), (4, 4), (12, 8)]),
    chip=st.just(4),
)


def numbered(layout: Layout, dtype: str = "f4") -> np.ndarray:
    return (np.arange(np.prod(layout.stack_shape)) + 1).reshape(layout.stack_shape).astype(dtype)


def test_a_4m_is_2164_rows_of_2068_pixels_with_modules_down_the_rows_first():
    layout = Layout()
    assert layout.image_shape == (2164, 2068)
    assert [layout.origin(module) for module in (0, 3, 4)] == [(0, 0), (1650, 0), (0, 1038)]
    stack = numbered(layout, "u4")
    image = Assembler(layout)(stack)
    for module, row, column in ((0, 0, 0), (2, 255, 256), (5, 256, 1023), (7, 511, 767)):
        y, x = (550 * (module % 4) + row + 2 * (row // 256), 1038 * (module // 4) + column + 2 * (column // 256))
        assert image[y, x] == stack[module, row, column]


@given(layouts)
def test_what_is_put_into_the_image_comes_back(layout):
    layout = replace(layout, double_pixels="keep")
    stack = numbered(layout)
    image = assemble_reference(stack, layout, -1)
    assert image.shape == layout.image_shape
    np.testing.assert_array_equal(disassemble(image, layout), stack)
    assert (image == -1).sum() == image.size - stack.size


@given(layouts, st.sampled_from(["i4", "u2"]))
def test_sharing_out_keeps_the_counts_of_every_pixel(layout, dtype):
    layout = replace(layout, double_pixels="split")
    stack = np.random.default_rng(0).poisson(3, layout.stack_shape).astype(dtype)
    image = assemble_reference(stack, layout)
    assert image.sum() == stack.sum()
    np.testing.assert_array_equal(disassemble(image, layout, add_gaps=True), stack)


def test_double_pixels_share_a_half_and_corner_pixels_a_quarter():
    layout = Layout(grid=(1, 1), double_pixels="split", module_shape=(4, 4), chip=2)
    image = assemble_reference(np.full(layout.stack_shape, 8, "f4"), layout)
    np.testing.assert_array_equal(image[0], [8, 4, 4, 4, 4, 8])
    np.testing.assert_array_equal(image[2], [4, 2, 2, 2, 2, 4])
    one = np.zeros(layout.stack_shape, "i4")
    one[0, 0, 1] = 3
    assert assemble_reference(one, layout)[0].tolist() == [0, 2, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("policy", "row"), [("copy", [1, 2, 2, 3, 3, 4]), ("keep", [1, 2, 0, 0, 3, 4]), ("mask", [1, 0, 0, 0, 0, 4])]
)
def test_what_the_gap_between_chips_shows(policy, row):
    layout = Layout(grid=(1, 1), double_pixels=policy, module_shape=(2, 4), chip=2)
    stack = np.array([[[1, 2, 3, 4]] * 2], "u2")
    assert assemble_reference(stack, layout)[0].tolist() == row
    assert Assembler(layout)(stack)[0].tolist() == row


@given(layouts, st.sampled_from(["u2", "f4", "u4"]))
@settings(max_examples=60, deadline=None)
def test_the_compiled_assembly_gives_what_numpy_gives(layout, dtype):
    if layout.double_pixels == "split":
        layout = replace(layout, double_pixels="copy")
    stack = numbered(layout, dtype)
    for threads in (1, 2):
        assembler = Assembler(layout, 7, threads)
        np.testing.assert_array_equal(assembler(stack), assemble_reference(stack, layout, 7))
        assembler.close()


@given(layouts)
def test_the_mask_says_which_pixels_have_no_value_and_which_are_wide(layout):
    mask = image_mask(layout)
    image = assemble_reference(numbered(layout), replace(layout, double_pixels=layout.double_pixels), -1)
    np.testing.assert_array_equal(mask == MASK_GAP, image == -1)
    plain = turned(mask, layout.flip)
    if layout.module_shape[1] > layout.chip and layout.chip_gap > 1 and layout.double_pixels != "mask":
        assert plain[0, layout.chip - 1] == MASK_VIRTUAL
        assert plain[0, layout.chip] == (MASK_GAP if layout.double_pixels == "keep" else MASK_VIRTUAL)
    assert plain[0, 0] == 0


def test_the_mask_shows_bad_pixels_of_the_modules():
    layout = Layout(grid=(1, 1), module_shape=(4, 4), chip=2)
    bad = np.zeros(layout.stack_shape, "u4")
    bad[0, 0, 0] = bad[0, 0, 1] = 2
    mask = image_mask(layout, bad)
    assert mask[0].tolist() == [2, 2 | MASK_VIRTUAL, 2 | MASK_VIRTUAL, MASK_VIRTUAL, MASK_VIRTUAL, 0]


@pytest.mark.parametrize("wrong", [{"grid": (0, 1)}, {"chip_gap": -1}, {"chip": 100}, {"module_gap": (1, -1)}])
def test_a_layout_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"cannot be|does not consist"):
        Layout(**wrong)


def test_buffers_of_another_shape_or_type_are_refused():
    layout = Layout(grid=(1, 1), module_shape=(4, 4), chip=2)
    with pytest.raises(ValueError, match="raw stack"):
        Assembler(layout)(np.zeros((1, 4, 5), "u2"))
    with pytest.raises(ValueError, match="out is"):
        Assembler(layout)(numbered(layout, "u2"), np.zeros(layout.image_shape, "u4"))
