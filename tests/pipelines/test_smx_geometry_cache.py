"""Prepared geometries are kept in memory and on disk, and made anew when something changes."""

import os

import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.pipelines.smx import geometry_cache, geometry_poni, tables
from lima2_receivers.pipelines.smx.tables import load_tables, table_faults

HEIGHT, WIDTH = 200, 150
INFO = FrameInfo(1, HEIGHT, WIDTH, np.dtype("u2"))


@pytest.fixture
def made_by_pyfai(monkeypatch):
    """Counts how often pyFAI makes bins."""
    calls = []
    real = geometry_poni.poni_geometry

    def counted(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(tables, "poni_geometry", counted)
    return calls


def test_memory_cache_follows_files_and_parameters(poni, saved, made_by_pyfai):
    fai = Fai(poni_path=poni(), nb_bins=50)
    first = load_tables(fai, INFO)
    assert load_tables(fai, INFO) is first
    assert not table_faults(fai, INFO)
    assert len(made_by_pyfai) == 1
    assert load_tables(fai.model_copy(update={"cutoff_pick": 9.0}), INFO) is first
    assert load_tables(fai.model_copy(update={"nb_bins": 40}), INFO).bins.nb_bins == 40
    os.utime(poni(wavelength=False), ns=(1, 1))
    assert "wavelength" not in load_tables(fai, INFO).description


def test_disk_cache_is_by_content(poni, saved, made_by_pyfai, tmp_path):
    fai = Fai(poni_path=poni(), nb_bins=50, correct_solid_angle=True, mask_path=saved("m", np.eye(HEIGHT, WIDTH)))
    first = load_tables(fai, INFO)
    tables._kept.clear()
    os.utime(fai.poni_path, ns=(1, 1))  # same content
    again = load_tables(fai, INFO)
    assert len(made_by_pyfai) == 1
    for name in ("centers", "indptr", "indices", "radius"):
        np.testing.assert_array_equal(getattr(again.bins, name), getattr(first.bins, name))
    np.testing.assert_array_equal(again.corrections.normalization, first.corrections.normalization)
    assert again.description == first.description
    saved("m", np.zeros((HEIGHT, WIDTH)))
    load_tables(fai, INFO)
    assert len(made_by_pyfai) == 2


@pytest.mark.parametrize("damage", [b"", b"PK nonsense", None])
def test_damaged_disk_cache_is_made_anew(poni, made_by_pyfai, tmp_path, damage):
    fai = Fai(poni_path=poni(), nb_bins=50)
    first = load_tables(fai, INFO)
    (kept,) = (tmp_path / "cache" / "smx").glob("*.npz")
    whole = kept.read_bytes()
    if damage is None:
        damage = bytearray(whole)
        damage[len(whole) // 4] ^= 0xFF  # inside the indices
    kept.write_bytes(damage)
    tables._kept.clear()
    again = load_tables(fai, INFO)
    assert len(made_by_pyfai) == 2
    np.testing.assert_array_equal(again.bins.radius, first.bins.radius)
    assert kept.read_bytes()[:2] == b"PK"
    assert len(kept.read_bytes()) == len(whole)


def test_disk_cache_is_bounded(poni, monkeypatch, tmp_path):
    path = poni()
    monkeypatch.setattr(geometry_cache, "KEPT_BYTES", 1)
    for nb_bins in (20, 30, 40):
        load_tables(Fai(poni_path=path, nb_bins=nb_bins), INFO)
    assert len(list((tmp_path / "cache" / "smx").glob("*.npz"))) == 1


def test_a_cache_that_cannot_be_written_only_costs_time(poni, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIMA2_CACHE_DIR", str(tmp_path / "file"))
    assert load_tables(Fai(poni_path=poni(), nb_bins=50), INFO).bins.nb_bins == 50
    assert "LIMA2_CACHE_DIR" in caplog.text
