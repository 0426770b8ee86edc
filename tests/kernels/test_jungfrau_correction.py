"""Jungfrau conversion: photons through raw pixels and back, special codes, compiled against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jungfrau_frames import GAINS, PHOTON_KEV, random_maps, to_raw

from lima2_receivers.kernels.compilation import compiled_count
from lima2_receivers.kernels.jungfrau import Corrector, warm_up_jungfrau
from lima2_receivers.kernels.jungfrau_layout import Layout, disassemble
from lima2_receivers.kernels.jungfrau_reference import convert_reference, correct_reference, in_type, round_half_away
from lima2_receivers.kernels.jungfrau_types import ERROR, MISSING, SATURATED, Output, PixelCounts, StageMaps, output

SMALL = Layout(grid=(2, 2), module_shape=(8, 136), chip=4)
TYPES = ("float32", "int32", "int16", "uint16")


def awkward(layout: Layout, seed: int, switched: float = 0.1) -> np.ndarray:
    """A frame with every kind of pixel: stages, codes, whole rows missing."""
    random = np.random.default_rng(seed)
    stack = random.integers(2000, 9000, layout.stack_shape).astype("u2")
    anything = random.random(stack.shape) < switched
    stack[anything] = random.integers(0, 65536, anything.sum())
    coded = random.random(stack.shape) < switched / 5
    stack[coded] = random.choice([MISSING, SATURATED, ERROR, 0x8123], coded.sum())
    stack[1, 2:4] = MISSING
    return stack


def single(values: list[int], **stage_maps: float) -> tuple[np.ndarray, StageMaps]:
    """One row of pixels, pedestals 0 and factors 1 unless given."""
    shape = (3, 1, 1, len(values))
    maps = StageMaps(np.zeros(shape, "f4"), np.full(shape, stage_maps.get("factor", 1.0), "f4"))
    return np.array([[values]], "u2"), maps


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("double_pixels", ["copy", "split", "keep", "mask"])
@pytest.mark.parametrize("flip", ["none", "up_down", "left_right", "both"])
def test_the_compiled_correction_gives_what_numpy_gives(dtype, double_pixels, flip):
    for gap, switched, threads in ((2, 0.1, 1), (3, 0.001, 2), (0, 0.0, 2)):
        layout = Layout(**{**SMALL.__dict__, "chip_gap": gap, "flip": flip, "double_pixels": double_pixels})
        maps, stack = random_maps(layout.stack_shape, masked=0.02), awkward(layout, gap, switched)
        corrector = Corrector(layout, maps, output(dtype), threads=threads)
        image, counts = corrector(stack, np.full(layout.image_shape, 99, dtype))
        corrector.close()
        expected, expected_counts = correct_reference(stack, layout, maps, output(dtype))
        np.testing.assert_array_equal(image, expected)
        assert counts == expected_counts


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.0005, 0.003, 0.02, 1.0]), st.sampled_from(TYPES))
@settings(max_examples=40, deadline=None)
def test_any_mixture_of_stages_and_codes_gives_what_numpy_gives(seed, switched, dtype):
    maps, stack = random_maps(SMALL.stack_shape, 0.02, seed), awkward(SMALL, seed, switched)
    image, counts = Corrector(SMALL, maps, output(dtype))(stack)
    expected, expected_counts = correct_reference(stack, SMALL, maps, output(dtype))
    np.testing.assert_array_equal(image, expected)
    assert counts == expected_counts


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2]), st.sampled_from(["float32", "int32", "uint16"]))
@settings(max_examples=40, deadline=None)
def test_photons_come_back_within_rounding_in_every_stage(seed, stage, dtype):
    random = np.random.default_rng(seed)
    highest = (24, 600, 9000)[stage]
    layout = Layout(grid=(2, 1), module_shape=(8, 64), chip=4, double_pixels="keep")
    photons = random.integers(0, highest, layout.stack_shape).astype("f8")
    maps = random_maps(layout.stack_shape, seed=seed)
    stack = to_raw(photons, np.full(layout.stack_shape, stage, "u1"), maps)
    image, counts = Corrector(layout, maps, output(dtype))(stack)
    adu_per_photon = abs(GAINS[stage]) * PHOTON_KEV
    off = np.abs(disassemble(image, layout).astype("f8") - photons)
    assert off.max() <= 0.5 / (adu_per_photon * 0.8) + (1e-3 if dtype == "float32" else 0.5)
    if stage < 2 and dtype != "float32":  # a photon is many ADU: whole numbers are exact
        assert off.max() == 0
    assert (counts.g1, counts.g2, counts.bad) == (stack.size * (stage == 1), stack.size * (stage == 2), 0)


def test_a_4m_frame_with_all_stages_comes_back_in_its_geometry():
    layout = Layout(double_pixels="keep")
    random = np.random.default_rng(8)
    stages = random.choice([0, 1, 2], layout.stack_shape, p=[0.98, 0.015, 0.005]).astype("u1")
    photons = random.integers(0, 20, layout.stack_shape) + np.array([0, 200, 5000])[stages]
    maps = random_maps(layout.stack_shape)
    image, counts = Corrector(layout, maps, output("int32"), threads=2)(to_raw(photons, stages, maps))
    assert image.shape == (2164, 2068)
    off = np.abs(disassemble(image, layout) - photons)
    assert off[stages < 2].max() == 0
    assert off[stages == 2].max() <= 1
    assert (counts.g1, counts.g2) == ((stages == 1).sum(), (stages == 2).sum())


def test_high_gain_frames_use_the_maps_of_high_gain():
    stack, maps = single([100] * 4)
    layout = Layout(grid=(1, 1), module_shape=(2, 4), chip=2)
    maps = StageMaps(*(np.repeat(values, 2, axis=2) for values in (maps.pedestals, maps.factors)))
    double = StageMaps(maps.pedestals, maps.factors * 2)
    stack = np.repeat(stack, 2, axis=1)
    assert Corrector(layout, maps, output(), double)(stack)[0].max() == 100
    assert Corrector(layout, maps, output(), double)(stack, high_gain=True)[0].max() == 200
    with pytest.raises(ValueError, match="no HG0 maps"):
        Corrector(layout, maps, output())(stack, high_gain=True)


def test_special_codes_get_their_marks_and_are_counted():
    codes = [MISSING, SATURATED, ERROR, 0x8001, 5, MISSING]
    stack, maps = single(codes)
    maps.factors[:, 0, 0, 5] = np.nan  # masked, but missing all the same
    for dtype, marks in (("int32", (-9, -8, -7)), ("uint16", (9, 8, 7)), ("float32", (-9.5, np.inf, np.nan))):
        kind = output(dtype, missing=marks[0], saturated=marks[1], error=marks[2])
        values, counts = convert_reference(stack, maps, kind)
        np.testing.assert_array_equal(values[0, 0], np.array([*marks, marks[2], 5, marks[0]], dtype))
        assert counts == PixelCounts(missing=2, saturated=1, error=1, invalid=1)
        assert counts.bad == 2


def test_a_masked_pixel_stays_masked_whatever_its_code():
    stack, maps = single([SATURATED, ERROR, 0x8001, 7, 0x4007])
    maps.factors[0] = np.nan
    values, counts = convert_reference(stack, maps, output("uint16", masked=12))
    assert values.tolist() == [[[12] * 5]]
    assert counts == PixelCounts()


@given(st.lists(st.floats(-1e5, 1e5, width=32), min_size=1))
def test_rounding_is_to_the_nearest_and_halves_go_away_from_zero(values):
    rounded = round_half_away(np.array(values, "f4"))
    for value, whole in zip(values, rounded, strict=True):
        assert abs(float(whole) - value) <= 0.5
        if abs(float(whole) - value) == 0.5:
            assert abs(whole) > abs(value)


def test_integers_are_clipped_short_of_the_marks():
    values = np.array([-1e20, -0.5, 0.49999997, 0.5, 2.5, 1e20, np.nan], "f4")
    assert in_type(values, output("uint16")).tolist() == [0, 0, 0, 1, 3, 65533, 65535]
    assert in_type(values, output("int16")).tolist() == [-32767, -1, 0, 1, 3, 32766, -32768]
    assert in_type(values, output("int32")).tolist() == [-2147483520, -1, 0, 1, 3, 2147483520, -2147483648]


def test_the_compiled_rounding_is_the_same_at_its_borders():
    layout = Layout(grid=(1, 1), module_shape=(4, 8), chip=4)
    values = np.array([-1e20, -0.5, 0.49999997, 0.5, -1.5, 2.5, 1e20, np.nan], "f4")
    maps = StageMaps(np.zeros((3, *layout.stack_shape), "f4"), np.broadcast_to(values, (3, 1, 4, 8)).copy())
    stack = np.ones(layout.stack_shape, "u2")
    for dtype in TYPES:
        expected, _ = correct_reference(stack, layout, maps, output(dtype))
        np.testing.assert_array_equal(Corrector(layout, maps, output(dtype))(stack)[0], expected)


@pytest.mark.parametrize(
    ("dtype", "marks"), [("uint16", {"gap": -1}), ("int16", {"masked": np.nan}), ("int32", {"highest": 2147483647})]
)
def test_marks_that_the_type_cannot_hold_are_refused(dtype, marks):
    with pytest.raises(ValueError, match=next(iter(marks))):
        output(dtype, **marks)


def test_maps_frames_and_types_that_do_not_fit_are_refused():
    maps = random_maps(SMALL.stack_shape)
    corrector = Corrector(SMALL, maps, output())
    with pytest.raises(ValueError, match="raw stack"):
        corrector(np.zeros((3, 8, 136), "u2"))
    with pytest.raises(ValueError, match="uint16"):
        corrector(np.zeros(SMALL.stack_shape, "i2"))
    with pytest.raises(ValueError, match="out is"):
        corrector(np.zeros(SMALL.stack_shape, "u2"), np.zeros((3, 3), "f4"))
    with pytest.raises(ValueError, match="layout of"):
        Corrector(Layout(), maps, output())
    with pytest.raises(ValueError, match="float32"):
        StageMaps(maps.pedestals.astype("f8"), maps.factors)
    with pytest.raises(ValueError, match="output type"):
        Output(np.dtype("u1"), 0, 0, 0, 0, 0)


def test_after_warming_up_a_frame_compiles_nothing():
    warm_up_jungfrau(["uint16"])
    before = compiled_count()
    corrector = Corrector(SMALL, random_maps(SMALL.stack_shape), output("uint16"), threads=2)
    corrector(awkward(SMALL, 1))
    corrector.close()
    assert compiled_count() == before
