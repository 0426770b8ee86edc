"""Dark, flat field and mask: compiled against NumPy."""

import numpy as np
import pytest

from lima2_receivers.kernels import correct, corrected_dtype, gain_of, mask_to_zero
from lima2_receivers.kernels.correction import correct_reference

DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")
X, Y, WIDTH, HEIGHT = 3, 5, 40, 30


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("maps", ["dark", "flat", "dark flat", "flat mask", "dark mask", "dark flat mask"])
@pytest.mark.parametrize("nb_maps", [1, 2])
def test_corrections_give_what_numpy_gives(dtype, maps, nb_maps):
    random = np.random.default_rng(5)
    frame = random.integers(0, 120, (2, 50, 61)).astype(dtype)
    shape = (nb_maps, HEIGHT, WIDTH)
    float_type = corrected_dtype(frame.dtype)
    dark = random.normal(10, 3, shape).astype(float_type) if "dark" in maps else None
    flat = random.uniform(0.5, 1.5, shape).astype(float_type) if "flat" in maps else None
    masked = random.random(shape) < 0.1 if "mask" in maps else None
    gain = None if maps == "dark" else gain_of(flat, masked, float_type)
    out = np.empty((2, HEIGHT, WIDTH), float_type)
    correct(frame, (X, Y), dark, gain, out)
    window = frame[:, Y : Y + HEIGHT, X : X + WIDTH]
    np.testing.assert_allclose(out, correct_reference(window, dark, flat, masked), rtol=3e-6, atol=1e-4)
    if masked is not None:
        assert (out[np.broadcast_to(masked, out.shape)] == 0).all()


def test_a_flat_field_without_a_positive_number_masks_the_pixel():
    flat = np.array([[[1.0, 0.0, -1.0, np.nan, np.inf, 2.0]]], "f4")
    gain = gain_of(flat, None, np.dtype("f4"))
    assert gain.tolist() == [[[1.0, 0.0, 0.0, 0.0, 0.0, 0.5]]]
    out = np.empty((1, 1, 6), "f4")
    correct(np.full((1, 1, 6), 10, "u2"), (0, 0), None, gain, out)
    assert out.tolist() == [[[10, 0, 0, 0, 0, 5]]]


def test_a_masked_pixel_is_zero_even_if_it_is_not_a_number():
    frame = np.array([[[np.nan, np.inf, 4.0]]], "f4")
    masked = np.array([[[True, True, False]]])
    for dark in (None, np.zeros((1, 1, 3), "f4")):
        out = np.empty((1, 1, 3), "f4")
        correct(frame, (0, 0), dark, gain_of(None, masked, np.dtype("f4")), out)
        assert out.tolist() == [[[0, 0, 4]]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mask_keeps_type_and_values(dtype):
    frame = np.random.default_rng(6).integers(0, 120, (2, 50, 61)).astype(dtype)
    keep = np.random.default_rng(7).integers(0, 2, (1, HEIGHT, WIDTH)).astype("u1")
    out = np.empty((2, HEIGHT, WIDTH), dtype)
    mask_to_zero(frame, (X, Y), keep, out)
    np.testing.assert_array_equal(out, np.where(keep, frame[:, Y : Y + HEIGHT, X : X + WIDTH], 0))


def test_nothing_to_correct_is_an_error():
    with pytest.raises(ValueError, match="dark or gain"):
        correct(np.zeros((1, 1, 1), "u2"), (0, 0), None, None, np.zeros((1, 1, 1), "f4"))
