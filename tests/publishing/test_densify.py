"""A sparse frame gives the dense image that fabio makes of the same file, and its spots and hits come back."""

import fabio
import h5py
import numpy as np
import pytest
from fabio.sparseimage import densify as densify_by_fabio

from lima2_bliss.contract import FrameFlags, FrameMeta, NotAvailableError, ParameterError, SparseFrame, SparseInfo
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.contract.records import SPOT
from lima2_bliss.publishing.densify import densify
from lima2_bliss.publishing.sparse_file import SparseFile
from lima2_receivers.saving import make_writer

SHAPE, NB_BINS = (40, 50), 12


def make_info(dtype="uint16", normalization=True):
    y, x = np.indices(SHAPE)
    mask = np.hypot(y - 18, x - 22).astype(np.float32)
    mask[3:5, 7:20] = np.nan
    radius = np.linspace(1.3, mask[np.isfinite(mask)].max() - 2, NB_BINS, dtype=np.float32)
    weights = np.linspace(0.5, 1.5, mask.size, dtype=np.float32).reshape(SHAPE) if normalization else None
    return SparseInfo(SHAPE, np.dtype(dtype), radius, mask, "r_m", weights, dummy=7)


def make_frame(info, seed):
    random = np.random.default_rng(seed)
    valid = np.flatnonzero(np.isfinite(info.mask))
    index = np.sort(random.choice(valid, 30, replace=False)).astype(np.int32)
    spots = np.zeros(seed % 4, SPOT)
    for column in ("y", "x", "intensity", "sigma"):
        spots[column] = random.random(len(spots)) * 30 + 1
    spots["size"] = 4
    return SparseFrame(
        index,
        random.integers(300, 900, 30).astype(info.dtype),
        (random.random(NB_BINS) * 90 + 5).astype(np.float32),
        (random.random(NB_BINS) * 4).astype(np.float32),
        spots,
        is_hit=seed % 2 == 1,
    )


@pytest.fixture
def saved(tmp_path):
    """Writes frames (None: a hole, "vetoed") into a file by the project's own writer; gives the file's path."""

    def save(info, frames):
        saving = Saving(enabled=True, base_path=str(tmp_path), filename_prefix="run", nb_frames_per_file=100)
        writer = make_writer(saving, info, 0, {})
        for local, frame in enumerate(frames):
            flags = {None: FrameFlags.LOST, "vetoed": FrameFlags.VETOED}.get(frame, FrameFlags.GOOD)
            good = isinstance(frame, SparseFrame)
            meta = FrameMeta(local, local, flags=flags, hit=good and frame.is_hit)
            writer.write(frame if good else None, meta)
        writer.close()
        return next(tmp_path.glob("run_0_*.h5"))

    return save


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("normalization", [True, False])
def test_a_dense_image_is_the_one_that_fabio_makes(saved, dtype, normalization):
    info = make_info(dtype, normalization)
    path = saved(info, [make_frame(info, seed) for seed in range(3)])
    image = fabio.open(str(path))
    # fabio's compiled code leaves pixels inside the first bin centre empty, its NumPy code gives them that bin
    compared = ~(info.mask < info.radius[0])
    with SparseFile(path) as file:
        assert len(file) == 3
        for place in range(3):
            frame = file.frame(place)
            ours = densify(frame, file.info)
            theirs = image.getframe(place).data
            given = (frame.index, frame.intensity, info.dummy, frame.background_avg, None, info.normalization)
            with np.errstate(invalid="ignore"):  # it makes integers of NaN before it fills them
                reference = densify_by_fabio(info.mask, info.radius, *given)
            assert ours.dtype == theirs.dtype == reference.dtype == dtype
            # a value may lie on the edge of rounding
            atol = 1 if dtype != "float32" else 0
            np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=atol)
            np.testing.assert_allclose(ours[compared], theirs[compared], rtol=1e-4, atol=atol)
            assert np.mean(ours == reference) > 0.99 or dtype == "float32"
    image.close()


def test_a_file_gives_the_frames_that_were_saved(saved):
    info = make_info()
    frames = [make_frame(info, 1), None, "vetoed", make_frame(info, 3)]
    with SparseFile(saved(info, frames)) as file:
        assert file.is_hit.tolist() == [True, False, False, True]
        assert file.nb_peaks.tolist() == [1, 0, 0, 3]
        np.testing.assert_array_equal(file.info.mask, info.mask)
        np.testing.assert_array_equal(file.info.normalization, info.normalization)
        assert (file.info.dtype, file.info.dummy, file.info.unit) == (info.dtype, 7, "r_m")
        frame = file.frame(3)
        for name in ("index", "intensity", "background_avg", "background_std"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(frames[3], name))
        for column in ("y", "x", "intensity", "sigma", "size"):
            np.testing.assert_array_equal(frame.spots[column], frames[3].spots[column])
        hole = file.frame(1)
        assert (len(hole.index), len(hole.spots)) == (0, 0)
        assert (densify(hole, file.info) == 7).all()
        with pytest.raises(NotAvailableError, match="was vetoed"):
            file.frame(2)
        with pytest.raises(NotAvailableError, match="has 4 frames"):
            file.frame(4)


def test_files_without_sparse_frames_are_named(tmp_path):
    with pytest.raises(NotAvailableError, match=r"nowhere\.h5 cannot be read"):
        SparseFile(tmp_path / "nowhere.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(NotAvailableError, match="has no sparse frames"):
        SparseFile(tmp_path / "other.h5")


def test_noise_has_the_deviation_of_the_bins_and_is_the_same_for_the_same_seed():
    info = make_info("float32", normalization=False)
    frame = SparseFrame(
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        np.full(NB_BINS, 100, np.float32),
        np.full(NB_BINS, 5, np.float32),
    )
    valid = np.isfinite(info.mask)
    noisy = densify(frame, info, noise=3)
    np.testing.assert_array_equal(noisy, densify(frame, info, noise=3))
    assert noisy[valid].mean() == pytest.approx(100, abs=0.5)
    assert noisy[valid].std() == pytest.approx(5, abs=0.4)
    assert (noisy[~valid] == 7).all()


def test_without_background_only_the_pixels_kept_are_there():
    info = make_info()
    frame = make_frame(info, 5)
    image = densify(frame, info, background=False)
    np.testing.assert_array_equal(image.reshape(-1)[frame.index], frame.intensity)
    assert (image[np.isfinite(info.mask)] != 0).sum() == len(frame.index)


def test_empty_bins_take_the_background_of_their_neighbours():
    info = make_info("float32", normalization=False)
    average = np.arange(NB_BINS, dtype=np.float32)
    holed = average.copy()
    holed[4:6] = np.nan
    frames = [
        SparseFrame(np.empty(0, np.int32), np.empty(0, np.float32), values, np.zeros(NB_BINS, np.float32))
        for values in (average, holed)
    ]
    np.testing.assert_allclose(densify(frames[1], info), densify(frames[0], info), atol=1e-5)


def test_values_beyond_the_type_are_its_limits():
    info = make_info("uint16", normalization=False)
    background = np.full(NB_BINS, 1e6, np.float32)
    frame = SparseFrame(np.empty(0, np.int32), np.empty(0, np.uint16), background, background)
    assert (densify(frame, info)[np.isfinite(info.mask)] == 65535).all()


def test_a_background_of_another_geometry_is_refused():
    info = make_info()
    frame = SparseFrame(np.empty(0, np.int32), np.empty(0, np.uint16), np.zeros(3, "f4"), np.zeros(3, "f4"))
    with pytest.raises(ParameterError, match="3 bins of background, the geometry 12"):
        densify(frame, info)
