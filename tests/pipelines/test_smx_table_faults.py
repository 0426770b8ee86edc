"""What a user reads when the geometry or a map of the SMX pipeline cannot be used."""

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.pipelines.smx.tables import load_tables, table_faults, write_arrays

HEIGHT, WIDTH = 200, 150
INFO = FrameInfo(1, HEIGHT, WIDTH, np.dtype("u2"))


def faults(**parameters) -> str:
    found = table_faults(Fai(**parameters), INFO)
    assert found
    with pytest.raises(ParameterError) as caught:
        load_tables(Fai(**parameters), INFO)
    assert all(text in caught.value.what for text in found)
    return " | ".join(found)


def test_no_geometry_says_what_gives_it(saved):
    assert "give poni_path" in faults()
    centers = saved("centers", np.arange(5.0))
    assert "csr_path also needs radius1d_path and radius2d_path" in faults(csr_path="x.h5")
    assert "radius1d_path also needs radius2d_path" in faults(radius1d_path=centers)


def test_all_faults_come_at_once(poni, saved):
    text = faults(
        poni_path=poni(shape=(10, 20)),
        mask_path="/nowhere/mask.npy",
        flat_path=saved("flat", np.ones((3, 3))),
        dark_path=saved("dark", np.full((HEIGHT, WIDTH), np.nan)),
        error_model="variance",
    )
    assert "no file /nowhere/mask.npy" in text
    assert "fai.flat_path" in text
    assert "fai.dark_path" in text
    assert "no usable value" in text
    assert "needs fai.variance_path" in text
    assert "20 x 10 pixels (width x height), but raw frames have 150 x 200" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "no PONI file"),
        ("", "no PONI file"),
        ("Distance: abc\n", "no PONI file that pyFAI can read"),
        ("Distance: 0.1\n", "no pixel size"),
        (
            "poni_version: 2.1\nDetector: NoSuchThing\nDetector_config: {}\nDistance: 0.1\n",
            "no PONI file that pyFAI can read: Detector nosuchthing",
        ),
        (b"\x00\xff\x80", "no PONI file"),
    ],
)
def test_bad_poni_files(tmp_path, text, expected):
    path = tmp_path / "bad.poni"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert expected in faults(poni_path=str(path))


def test_poni_files_that_do_not_fit(poni, tmp_path):
    assert "no file" in faults(poni_path="/nowhere/x.poni")
    assert "cannot be read" in faults(poni_path=str(tmp_path))
    path = poni(wavelength=False)
    assert "no Wavelength" in faults(poni_path=path, unit="q_nm^-1")


def test_useless_bins(poni, saved):
    path = poni()
    assert "cover the whole frame" in faults(poni_path=path, mask_path=saved("all", np.ones((HEIGHT, WIDTH))))
    assert "of 100000 radial bins have pixels" in faults(poni_path=path, nb_bins=100_000)
    zero = saved("zero", np.zeros((HEIGHT, WIDTH)))
    assert "nowhere positive" in faults(poni_path=path, flat_path=zero)


def test_radial_range_outside_the_data(poni):
    path = poni()
    assert "no pixel lies in it; the pixels lie from" in faults(poni_path=path, radius_min=5.0)
    assert not table_faults(Fai(poni_path=path, radius_min=0.005, radius_max=0.006), INFO)


def test_bad_arrays(poni, saved, tmp_path):
    good = write_arrays(load_tables(Fai(poni_path=poni(), nb_bins=50), INFO), tmp_path / "good")
    assert "must ascend" in faults(**good | {"radius1d_path": saved("down", np.arange(50.0)[::-1])})
    assert "evenly spaced" in faults(**good | {"radius1d_path": saved("uneven", np.arange(50.0) ** 2)})
    assert "50 bins, but radius1d_path has 40" in faults(**good | {"radius1d_path": saved("few", np.arange(40.0))})
    assert "it has one dimension" in faults(**good | {"radius1d_path": saved("image", np.ones((4, 4)))})
    assert "(height, width)" in faults(**good | {"radius2d_path": saved("small", np.ones((4, 4)))})
    nothing = saved("nothing", np.full((HEIGHT, WIDTH), np.nan))
    assert "no pixel is left in any" in faults(**good | {"radius2d_path": nothing})


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"indices": lambda a: a + 1}, "do not lie in raw frames of 150 x 200"),
        ({"indices": lambda a: a - 1}, "indices from -1"),
        ({"indices": lambda a: a.astype("f8")}, "a row of integers"),
        ({"indptr": lambda a: a[::-1]}, "indptr has to ascend"),
        ({"indptr": None}, "needs datasets 'indices' and 'indptr'"),
        ({"data": lambda a: a[:-1]}, "both must be the same"),
        ({"data": lambda a: -a}, "negative"),
    ],
)
def test_bad_matrices(poni, tmp_path, changed, expected):
    parameters = write_arrays(load_tables(Fai(poni_path=poni(), nb_bins=50), INFO), tmp_path)
    with h5py.File(parameters["csr_path"], "a") as file:
        for name, change in changed.items():
            before = file[name][()]
            del file[name]
            if change is not None:
                file[name] = change(before)
    assert expected in faults(**parameters)


def test_damaged_matrix_file(poni, tmp_path):
    parameters = write_arrays(load_tables(Fai(poni_path=poni(), nb_bins=50), INFO), tmp_path)
    (tmp_path / "csr.h5").write_bytes(b"no")
    assert "damaged or no HDF5 file" in faults(**parameters)


def test_more_than_one_channel():
    found = table_faults(Fai(poni_path="x"), FrameInfo(2, HEIGHT, WIDTH, np.dtype("u2")))
    assert "2 channels" in found[0]
