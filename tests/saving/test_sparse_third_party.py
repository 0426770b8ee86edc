"""Programs that know nothing of us read our sparse files and masters: densify_Bragg, fabio, pyFAI's layout, silx."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import fabio
import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np
import pytest
import silx.io
from fabio.sparseimage import SparseImage
from silx.io import nxdata
from sparse_frames import info_of, job_of, radius_of_pixels, random_frame, save_frames, saving_in

from lima2_bliss.contract import RoundRobin, SparseFrame, SparseInfo
from lima2_receivers.saving import write_master

FRAMES = [random_frame(seed, "i4", max_pixels=60, max_spots=9) for seed in range(11)]
PEAKS = "entry_0000/peaks"
DUMMY = -3


def write_files(directory: Path, frames: list, info: SparseInfo, **more) -> tuple[Path, Path]:
    """(first file of receiver 0, master) of two receivers in turn."""
    saving = saving_in(directory, **more)
    counts = save_frames(saving, frames, RoundRobin(2), info)
    return saving.layout().receiver_file(0, 0), write_master(job_of(saving, counts, str(info.dtype)))


@pytest.fixture
def files(request, tmp_path) -> tuple[tuple[Path, list[SparseFrame]], tuple[Path, list[SparseFrame]]]:
    """Receiver file and master, each with the frames that it should have."""
    receiver, master = write_files(tmp_path, FRAMES, info_of("i4", dummy=DUMMY), compression=request.param)
    return (receiver, FRAMES[:8:2]), (master, FRAMES)


every_compression = pytest.mark.parametrize("files", ["none", "bshuf_lz4", "gzip", "zstd"], indirect=True)


def assert_restored(image: np.ndarray, frame: SparseFrame, info: SparseInfo) -> None:
    """Picked pixels bit for bit, masked ones the dummy, all others the background at their radius, rounded."""
    np.testing.assert_array_equal(image.ravel()[frame.index], frame.intensity)
    masked = ~np.isfinite(info.mask)
    assert (image[masked] == info.dummy).all()
    rest = np.isfinite(info.mask)
    rest.ravel()[frame.index] = False
    background = np.interp(info.mask, info.radius, frame.background_avg)
    if info.normalization is not None:
        background *= info.normalization
    tolerance = 0.5001 if info.dtype.kind in "iu" else 1e-3
    np.testing.assert_allclose(image[rest], background[rest], atol=tolerance)


@every_compression
def test_fabio_restores_the_frames(files):
    for path, frames in files:
        with fabio.open(str(path)) as series:
            assert isinstance(series, SparseImage)
            assert series.nframes == len(frames)
            for place, frame in enumerate(frames):
                assert_restored(series.getframe(place).data, frame, info_of("i4", dummy=DUMMY))


# The command of fabio 2024.4 imports a module that its package does not contain.
DENSIFY = """
import sys
{repair}
from fabio.app.densify import main
sys.exit(main())
"""
REPAIR = "import types, fabio; sys.modules['fabio._version'] = types.SimpleNamespace(version=str(fabio.version))"


def run_densify(*arguments: str) -> None:
    """The program ``densify_Bragg`` in a process of its own."""
    whole = importlib.util.find_spec("fabio._version") is not None
    code = DENSIFY.format(repair="" if whole else REPAIR)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("files", ["bshuf_lz4"], indirect=True)
def test_densify_bragg_restores_the_frames(files, tmp_path):
    for path, frames in files:
        output = tmp_path / f"{path.stem}_dense.h5"
        run_densify("-N", "0", "-o", str(output), str(path))
        with fabio.open(str(output)) as series:
            assert series.nframes == len(frames)
            for place, frame in enumerate(frames):
                assert_restored(series.getframe(place).data, frame, info_of("i4", dummy=DUMMY))


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_fabio_undoes_the_normalization_of_the_background(tmp_path, dtype):
    normalization = np.random.default_rng(1).uniform(0.5, 1, radius_of_pixels().shape).astype("f4")
    frames, info = [random_frame(seed, dtype) for seed in range(4)], info_of(dtype, normalization=normalization)
    for path in write_files(tmp_path, frames, info):
        with fabio.open(str(path)) as series:
            assert_restored(series.getframe(0).data, frames[0], info)


def test_fabio_opens_files_with_vetoed_frames(tmp_path):
    frames = [random_frame(0, "f4"), random_frame(1, "f4"), None, None, random_frame(4, "f4")]
    for path in write_files(tmp_path, frames, info_of("f4")):
        with fabio.open(str(path)) as series:
            saved = frames[::2] if series.nframes == 3 else frames
            for place, frame in enumerate(saved):
                image = series.getframe(place).data
                if frame is not None:
                    assert_restored(image, frame, info_of("f4"))
                else:
                    assert np.isnan(image[np.isfinite(radius_of_pixels())]).all(), "no zeros that were not measured"


@pytest.mark.parametrize("files", ["bshuf_lz4"], indirect=True)
def test_parameters_stand_where_densify_looks_for_them(files):
    for path, _ in files:
        with h5py.File(path) as file:
            content = json.loads(file["entry_0000/sparsify/configuration/data"].asstr()[()])
        assert content["sparsify"] == {"peaks": {"cutoff_peak": 5.0}}


@every_compression
def test_silx_finds_the_background_as_default_plot(files):
    for path, frames in files:
        with silx.io.open(str(path)) as file:
            plot = nxdata.get_default(file)
            assert plot is not None
            assert plot.interpretation == "spectrum"
            np.testing.assert_array_equal(plot.signal[()], [frame.background_avg for frame in frames])
            np.testing.assert_array_equal(plot.errors[()], [frame.background_std for frame in frames])
            np.testing.assert_array_equal(plot.axes[1][()], info_of().radius)


def cxi_peaks(file: h5py.File, group: str, line: int) -> np.ndarray:
    """What CrystFEL takes for event ``//line``: whole rows of float32 tables, cut to nPeaks; (fast, slow, value)."""
    count = int(file[f"{group}/nPeaks"][line])
    tables = [file[f"{group}/{name}"] for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity")]
    for table in tables:
        assert table.ndim == 2
        assert len(table) == len(file[f"{group}/nPeaks"])
        assert table.shape[1] >= max(count, 1)
        assert not table[line, count:].any()
    return np.array([table[line].astype("f4")[:count] for table in tables]).T


@every_compression
def test_peaks_are_read_as_crystfel_reads_cxi_lists(files):
    for path, frames in files:
        with h5py.File(path) as file:
            assert file[f"{PEAKS}/peakXPosRaw"].shape == (len(frames), max(len(frame.spots) for frame in frames))
            for line, frame in enumerate(frames):
                expected = np.array([frame.spots[name] for name in ("x", "y", "intensity")]).T
                np.testing.assert_array_equal(cxi_peaks(file, PEAKS, line), expected)
                ratio = frame.spots["intensity"] / frame.spots["sigma"]
                np.testing.assert_allclose(file[f"{PEAKS}/peakSNR"][line, : len(ratio)], ratio, rtol=1e-6)


def test_frames_without_any_spot_have_tables_of_one_column(tmp_path):
    frames = [random_frame(seed, max_spots=0) for seed in range(3)]
    for path in write_files(tmp_path, frames, info_of()):
        with h5py.File(path) as file:
            assert cxi_peaks(file, PEAKS, 0).shape == (0, 3)
            assert file[f"{PEAKS}/peakXPosRaw"].shape[1] == 1
