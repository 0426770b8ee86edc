"""`make_finder` refuses what does not fit, and says what is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from smx_frames import radial_bins

from lima2_bliss.contract import ParameterError
from lima2_receivers.kernels.smx import make_finder
from lima2_receivers.kernels.smx_types import FinderSettings, PixelCorrections

BINS = radial_bins((20, 30), 6)
RAW = np.dtype("u2")
OPTIONS = FinderSettings()


def test_auto_is_cpu_without_a_gpu(monkeypatch):
    monkeypatch.setattr("lima2_receivers.kernels.smx_opencl.gpu_available", lambda: False)
    assert make_finder(BINS, PixelCorrections(), OPTIONS, RAW).backend == "cpu"


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_finder_says_what_it_is(backend):
    finder = make_finder(BINS, PixelCorrections(), OPTIONS, RAW, backend)
    assert (finder.backend, finder.intensity_dtype) == (backend, RAW)
    finder.close()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"centers": BINS.centers[:1]}, "at least 2"),
        ({"centers": BINS.centers[::-1]}, "ascend in even steps"),
        ({"centers": BINS.centers**2}, "ascend in even steps"),
        ({"indptr": BINS.indptr[:-1]}, "indptr must go from 0"),
        ({"indptr": np.array([0, 9, 5, 9, 9, 9, 600], "i4")}, "indptr must ascend"),
        ({"indices": BINS.indices - 1}, "must lie in the image of 600 pixels"),
        ({"indices": BINS.indices + 1}, "must lie in the image of 600 pixels"),
        ({"coefs": np.ones(5, "f4")}, "5 coefs given for 600"),
        ({"radius": BINS.radius.reshape(20, 30)}, "must be flat"),
    ],
)
def test_tables_that_do_not_fit(change, text):
    with pytest.raises(ParameterError, match=text):
        make_finder(replace(BINS, **change), PixelCorrections(), OPTIONS, RAW, "cpu")


@pytest.mark.parametrize("name", ["dark", "dark_variance", "variance", "normalization", "masked"])
def test_maps_that_do_not_fit(name):
    with pytest.raises(ParameterError, match=f"{name} of shape \\(20, 30\\)"):
        make_finder(BINS, PixelCorrections(**{name: np.ones((20, 30), "f4")}), OPTIONS, RAW, "cpu")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"error_model": "variance"}, "needs a map of variances"),
        ({"error_model": "gauss"}, "allowed: no_var, variance"),
        ({"patch_size": 4}, "one of"),
    ],
)
def test_settings_that_do_not_fit(options, text):
    with pytest.raises(ParameterError, match=text):
        make_finder(BINS, PixelCorrections(), FinderSettings(**options), RAW, "cpu")


def test_unknown_backend_and_no_threads():
    with pytest.raises(ParameterError, match="allowed: auto, cpu"):
        make_finder(BINS, PixelCorrections(), OPTIONS, RAW, "cuda")
    with pytest.raises(ParameterError, match="at least 1"):
        make_finder(BINS, PixelCorrections(), OPTIONS, RAW, "cpu", threads=0)
