"""Frames are found in files of ours, of others and in memory, and what cannot be tuned on is refused with a reason."""

import h5py
import numpy as np
import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.tuning import FrameStack, open_stack

FRAMES = np.arange(4 * 6 * 5, dtype="u2").reshape(4, 6, 5)


def others_file(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def assert_frames(stack, expected=FRAMES):
    assert len(stack) == len(expected)
    for index, frame in enumerate(expected):
        read = stack.read(index)
        np.testing.assert_array_equal(read, frame)
        assert read.flags.c_contiguous
        assert read.dtype == stack.info.dtype
        assert read.dtype.isnative


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 1, 6, 5)])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_frames_of_a_numpy_file(tmp_path, shape, dtype):
    np.save(tmp_path / "frames.npy", FRAMES.reshape(shape).astype(dtype))
    with open_stack(tmp_path / "frames.npy") as stack:
        assert_frames(stack)
        assert stack.info.shape == (1, 6, 5)
        assert not stack.flags.any()


def test_frames_of_another_programs_file(tmp_path):
    path = others_file(tmp_path / "scan.h5", entry__data__counts=FRAMES, entry__title="x", entry__mask=FRAMES[0])
    with open_stack(path) as stack:
        assert_frames(stack)
        assert (stack.processing, stack.poni) == ("", "")
    with open_stack(f"{path}::/entry/data/counts") as stack:
        assert_frames(stack)


def test_a_file_with_several_stacks_asks_for_one_unless_it_shows_one_by_default(tmp_path):
    path = others_file(tmp_path / "scan.h5", a=FRAMES, b__data=FRAMES + 1)
    with (
        pytest.raises(ParameterError, match=r"has 2 stacks of images; choose one, e.g. .*scan.h5::/a"),
        open_stack(path),
    ):
        pass
    with h5py.File(path, "a") as file:
        file.attrs["default"] = "b"
        file["b"].attrs["signal"] = "data"
    with open_stack(path) as stack:
        assert_frames(stack, FRAMES + 1)


def test_frames_in_memory():
    assert_frames(FrameStack.from_array(FRAMES[:, ::-1]), FRAMES[:, ::-1])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (FRAMES[0], r"shape \(6, 5\)"),
        (FRAMES.reshape(2, 2, 6, 5), r"shape \(2, 2, 6, 5\)"),
        (FRAMES.astype("i8"), "int64 has no pixel type"),
        (np.array([{}]), "damaged or no .npy file"),
    ],
)
def test_what_is_no_stack_of_frames_is_refused(tmp_path, values, said):
    np.save(tmp_path / "frames.npy", values)
    with pytest.raises(ParameterError, match=said), open_stack(tmp_path / "frames.npy"):
        pass


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none.h5", "there is no file"),
        ("none.npy", "there is no file"),
        ("scan.tif", "unknown file type '.tif'"),
        ("scan.h5::/b", "has no dataset /b; stacks of images in it: /a"),
        ("scan.h5::/a/b", "has no dataset /a/b"),
        ("text.h5", "damaged or no HDF5 file"),
        ("frames.npy::/a", "only HDF5 files take"),
        ("empty.h5", "has no stack of images"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, source, said):
    others_file(tmp_path / "scan.h5", a=FRAMES)
    others_file(tmp_path / "empty.h5", image=FRAMES[0])
    (tmp_path / "text.h5").write_text("text")
    np.save(tmp_path / "frames.npy", FRAMES)
    with pytest.raises(ParameterError, match=said), open_stack(tmp_path / source):
        pass
