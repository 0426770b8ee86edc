"""Programs that know nothing of us read our files: h5py, silx, fabio, pyFAI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import fabio
import h5py
import hdf5plugin  # noqa: F401  (filters)
import numpy as np
import pytest
import silx.io
from silx.io import nxdata

from lima2_bliss.contract import FrameInfo, FrameMeta, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_receivers.saving import make_writer, write_master

SHAPE = (1, 40, 50)
FRAMES = np.random.default_rng(5).poisson(4, (11, *SHAPE)).astype("uint16")
COMPRESSIONS = ["none", "bshuf_lz4", "gzip", "zstd"]


@pytest.fixture
def files(request, tmp_path) -> tuple[Path, Path]:
    """(first file of receiver 0, master file) of an acquisition over two receivers, with a given compression."""
    saving = Saving(
        enabled=True,
        base_path=str(tmp_path),
        nb_frames_per_file=4,
        compression=request.param,
        nx_detector_name="eiger",
    )
    dispatch = RoundRobin(2)
    counts = [dispatch.count(rank, len(FRAMES)) for rank in range(2)]
    for rank, count in enumerate(counts):
        writer = make_writer(saving, FrameInfo(*SHAPE, np.dtype("u2")), rank, {"acquisition": {"a": 1}})
        for local in range(count):
            index = dispatch.global_index(rank, local)
            writer.write(FRAMES[index], FrameMeta(index, local))
        writer.close()
    master = write_master(MasterJob(saving=saving, counts=counts, shape=SHAPE, dtype="uint16"))
    return saving.layout().receiver_file(0, 0), master


every_compression = pytest.mark.parametrize("files", COMPRESSIONS, indirect=True)


@every_compression
def test_h5py(files):
    receiver, master = files
    with h5py.File(receiver) as file:
        np.testing.assert_array_equal(file["entry_0000/measurement/data"][:], FRAMES[:8:2, 0])
    with h5py.File(master) as file:
        np.testing.assert_array_equal(file["entry_0000/measurement/data"][:], FRAMES[:, 0])


@every_compression
def test_silx_finds_the_default_plot(files):
    for path, expected in zip(files, (FRAMES[:8:2, 0], FRAMES[:, 0]), strict=True):
        with silx.io.open(str(path)) as file:
            plot = nxdata.get_default(file)
            assert plot is not None
            assert plot.interpretation == "image"
            np.testing.assert_array_equal(plot.signal[()], expected)


@every_compression
def test_fabio_reads_a_series_of_frames(files):
    for path, expected in zip(files, (FRAMES[:8:2, 0], FRAMES[:, 0]), strict=True):
        image = fabio.open(str(path))
        try:
            assert image.nframes == len(expected)
            assert image.header["detector"] == "eiger"
            for index, frame in enumerate(expected):
                np.testing.assert_array_equal(image.getframe(index).data, frame)
        finally:
            image.close()


@pytest.mark.parametrize("files", ["bshuf_lz4"], indirect=True)
def test_pyfai_integrates_frames_of_the_master(files):
    integrators = pytest.importorskip("pyFAI.integrator.azimuthal")
    integrator = integrators.AzimuthalIntegrator(
        dist=0.1, poni1=2e-3, poni2=2e-3, detector=None, pixel1=1e-4, pixel2=1e-4
    )
    integrator.wavelength = 1e-10
    method = ("no", "histogram", "cython")
    with fabio.open(str(files[1])) as image:
        got = integrator.integrate1d(image.getframe(7).data, 20, unit="r_mm", method=method)
    expected = integrator.integrate1d(FRAMES[7, 0], 20, unit="r_mm", method=method)
    np.testing.assert_array_equal(got.intensity, expected.intensity)
    assert got.intensity.max() > 0


@pytest.mark.parametrize("files", ["gzip", "none"], indirect=True)
def test_gzip_needs_no_plugin(files):
    code = (
        "import sys, h5py; data = h5py.File(sys.argv[1])['entry_0000/measurement/data'][:]; "
        "assert not any('plugin' in name or 'bitshuffle' in name for name in sys.modules); print(int(data.sum()))"
    )
    for path, expected in zip(files, (FRAMES[:8:2], FRAMES), strict=True):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={"HDF5_PLUGIN_PATH": "/nowhere"},
        )
        assert int(done.stdout) == int(expected.sum())
