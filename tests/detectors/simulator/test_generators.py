"""What the simulated frames hold is a function of parameters and index alone."""

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import ParameterError, RoundRobin
from lima2_bliss.contract.pixels import DTYPES
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame, read_stamp, truth
from lima2_receivers.detectors.simulator.generators import describe, slots_of


def parameters(kind, size=(128, 96), **det):
    generator = {"type": kind, **det.pop("generator", {})}
    return SimulatorParameters.model_validate(
        {"det": {"size": {"x": size[0], "y": size[1]}, "generator": generator, **det}}
    )


@pytest.mark.parametrize("kind", ["gauss", "diffraction"])
@pytest.mark.parametrize("pixel_type", DTYPES)
def test_a_frame_is_the_same_each_time_and_has_the_type_asked_for(kind, pixel_type):
    given = parameters(kind, generator={"pixel_type": pixel_type, "nb_channels": 2})
    frame = expected_frame(given, 3)
    assert frame.shape == (2, 96, 128)
    assert frame.dtype == DTYPES[pixel_type]
    assert frame.max() > 20
    assert frame.min() >= 0
    assert not np.array_equal(frame[0], frame[1])
    np.testing.assert_array_equal(frame, expected_frame(given, 3))
    np.testing.assert_array_equal(frame, expected_frame(given, 3 + 16))


def test_too_many_counts_saturate():
    bright = {"gauss": {"peaks": [{"x0": 50, "y0": 50, "max": 1e9}]}}
    for pixel_type, most in (("gray8", 255), ("gray8s", 127), ("gray16", 65535)):
        assert expected_frame(parameters("gauss", generator={"pixel_type": pixel_type, **bright}), 0).max() == most


def test_a_gauss_peak_is_where_it_was_asked_as_high_and_as_wide():
    peak = {"x0": 40, "y0": 30, "fwhm": 20, "max": 1000}
    frame = expected_frame(parameters("gauss", generator={"gauss": {"peaks": [peak]}}), 0)[0]
    assert np.unravel_index(frame.argmax(), frame.shape) == (30, 40)
    assert frame[30, 40] == 1000
    assert frame[30, 50] == frame[20, 40] == 500


def test_without_peaks_one_is_in_the_middle():
    frame = expected_frame(parameters("gauss"), 0)[0]
    np.testing.assert_array_equal(frame, frame[::-1, ::-1])
    assert frame[48, 64] >= 99


def test_peaks_grow_over_the_prefetched_frames():
    given = parameters("gauss", generator={"gauss": {"grow_factor": 0.5}, "pixel_type": "gray32f"})
    highs = [expected_frame(given, index).max() for index in (0, 1, 4, 16)]
    np.testing.assert_allclose(np.array(highs) / highs[0], [1, 1.5, 3, 1])


def test_the_seed_decides_the_frames():
    frames = [expected_frame(parameters("diffraction", generator={"seed": seed}), 0) for seed in (1, 2)]
    assert not np.array_equal(*frames)


@pytest.mark.parametrize(("hit_rate", "slots", "hits"), [(0, 10, 0), (0.3, 10, 3), (1, 10, 10), (0.5, 1, 0)])
def test_the_hit_rate_is_kept_exactly(hit_rate, slots, hits):
    given = parameters(
        "diffraction", generator={"diffraction": {"hit_rate": hit_rate}}, nb_prefetch_frames=slots, size=(64, 64)
    )
    found = [truth(given, index) for index in range(slots)]
    assert sum(one.hit for one in found) == hits
    assert all((len(one.spots) > 0) <= one.hit for one in found)


def test_spots_are_where_the_truth_says_and_as_strong():
    crystal = {"hit_rate": 1, "background_level": 0, "background_floor": 0, "noise": False, "spot_intensity": 1e5}
    given = parameters("diffraction", (512, 512), generator={"diffraction": crystal, "pixel_type": "gray64f"})
    frame, spots = expected_frame(given, 0)[0], truth(given, 0).spots
    inner = spots[(abs(spots["x"] - 255.5) < 245) & (abs(spots["y"] - 255.5) < 245)]
    assert len(inner) > 20
    strongest = inner[inner["intensity"].argmax()]
    y, x = round(strongest["y"]), round(strongest["x"])
    patch = frame[y - 4 : y + 5, x - 4 : x + 5]
    assert patch.sum() == pytest.approx(strongest["intensity"], rel=0.02)
    rows, columns = np.mgrid[y - 4 : y + 5, x - 4 : x + 5]
    assert (patch * rows).sum() / patch.sum() == pytest.approx(strongest["y"], abs=0.05)
    assert (patch * columns).sum() / patch.sum() == pytest.approx(strongest["x"], abs=0.05)
    assert frame.sum() == pytest.approx(spots["intensity"].sum(), rel=0.05)


def test_every_spot_obeys_braggs_law():
    crystal = {"hit_rate": 1, "cell_nm": 8.0, "wavelength_nm": 0.1, "distance_m": 0.1, "excitation_width": 1e-4}
    given = parameters("diffraction", size=(1024, 1024), generator={"diffraction": crystal})
    spots = truth(given, 0).spots
    assert len(spots) > 5
    radius = np.hypot(spots["x"] - 511.5, spots["y"] - 511.5) * 75e-6
    q = 2 * np.sin(0.5 * np.arctan2(radius, 0.1)) / 0.1
    squared = (q * 8.0) ** 2  # h2 + k2 + l2 of a cubic lattice
    assert abs(squared - np.rint(squared)).max() < 0.1
    assert np.rint(squared).min() >= 1


def test_noise_is_poisson():
    flat = {"hit_rate": 0, "background_level": 0, "background_floor": 9}
    frame = expected_frame(parameters("diffraction", size=(512, 512), generator={"diffraction": flat}), 0)
    assert frame.mean() == pytest.approx(9, abs=0.05)
    assert frame.var() == pytest.approx(9, abs=0.15)


def test_the_beam_moves():
    moving = {"hit_rate": 0, "noise": False, "background_width": 10, "background_level": 1000}
    moving |= {"x0": 20, "y0": 30, "source_pos_x": 5, "source_speed_x": 2, "source_speed_y": 1}
    given = parameters("diffraction", generator={"diffraction": moving})
    for slot in (0, 3):
        frame = expected_frame(given, slot)[0]
        assert np.unravel_index(frame.argmax(), frame.shape) == (30 + slot, 25 + 2 * slot)


def test_a_stamped_frame_differs_in_the_stamp_only():
    plain, stamped = (parameters("gauss", stamp_frame_number=on) for on in (False, True))
    expected = expected_frame(plain, 70_000)
    frame = expected_frame(stamped, 70_000)
    assert read_stamp(frame) == 70_000
    np.testing.assert_array_equal(frame[0, :, 2:], expected[0, :, 2:])


@pytest.mark.parametrize(("receivers", "block", "slots"), [(1, 1, 16), (2, 1, 16), (3, 1, 16), (2, 5, 16), (4, 3, 6)])
def test_a_receiver_prefetches_exactly_the_slots_of_its_frames(receivers, block, slots):
    given = parameters("diffraction", nb_prefetch_frames=slots)
    dispatch = RoundRobin(receivers, block)
    for rank in range(receivers):
        needed = {dispatch.global_index(rank, local) % slots for local in range(2000)}
        listed = slots_of(describe(given), dispatch, rank)
        assert set(listed) == needed
        assert len(listed) == len(needed)


# --- file ---------------------------------------------------------------------------------------------------------


def stack_file(path, data, dataset="/entry_0000/measurement/data"):
    with h5py.File(path, "w") as file:
        file[dataset] = data
    return parameters("file", generator={"file": {"path": str(path)}})


@pytest.mark.parametrize("shape", [(6, 20, 30), (6, 2, 20, 30), (20, 30)])
def test_a_file_is_replayed(tmp_path, shape):
    data = np.arange(np.prod(shape), dtype="<u2").reshape(shape)
    given = stack_file(tmp_path / "stack.h5", data)
    content = describe(given)
    frames = data.reshape((-1, content.info.nb_channels, 20, 30))
    assert content.info.dtype == np.dtype("<u2")
    assert content.slots == len(frames)
    for index in (0, 1, 7):
        np.testing.assert_array_equal(expected_frame(given, index), frames[index % len(frames)])


def test_a_file_written_anew_is_read_anew(tmp_path):
    given = stack_file(tmp_path / "stack.h5", np.zeros((2, 8, 8), "u1"))
    key = describe(given).key
    stack_file(tmp_path / "stack.h5", np.ones((3, 8, 8), "u1"))
    assert describe(given).key != key


def test_a_file_that_cannot_be_replayed_is_refused_by_name(tmp_path):
    path = tmp_path / "stack.h5"
    given = parameters("file", generator={"file": {"path": str(path)}})
    with pytest.raises(ParameterError, match=r"stack\.h5"):
        describe(given)
    path.write_text("no HDF5")
    with pytest.raises(ParameterError, match="cannot be read as HDF5"):
        describe(given)
    stack_file(path, np.zeros((2, 8, 8), "u1"), "/elsewhere")
    with pytest.raises(ParameterError, match="it has: elsewhere"):
        describe(given)
    stack_file(path, np.zeros(8, "u1"))
    with pytest.raises(ParameterError, match=r"shape \(8,\)"):
        describe(given)
    stack_file(path, np.zeros((2, 8, 8), "i8"))
    with pytest.raises(ParameterError, match="int64"):
        describe(given)
    stack_file(path, np.zeros((2, 8, 8), "u1"))
    given.det.generator.file.first_frame = 2
    with pytest.raises(ParameterError, match="has 2 frames, from 0 to 1"):
        describe(given)
