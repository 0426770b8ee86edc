"""The ``lima_info`` of an image stream: where a `lima_v1` consumer finds the frames, live and saved.

blissdata asks the Tango device ``server_url`` for a frame while that still has it, then reads file
``file_path % number`` with ``number = frame // frame_per_file``. Frames of a single receiver lie like that in its own
files. Those of several receivers do not: for them ``file_path`` names the master file by a pattern that formats every
number to nothing (``%.0s``), one file for all frames.
"""

from __future__ import annotations

from typing import Any

from lima2_bliss.contract import FileLayout, ParameterError

PROTOCOL_VERSION = 1
FILE_FORMAT = "hdf5"
#: Key of `saved_sparse_files` in the info of a stream.
SPARSE_FILES = "sparse_files"
#: ``frame_per_file`` of a master file whose length is not known beforehand.
ENDLESS_FRAMES_PER_FILE = 2**31 - 1


def next_acquisition(data_store: Any, server_url: str) -> int:
    """Count an acquisition of the image device, at each prepare; the result is ``acquisition_offset`` of the scan's
    first one. Frames of earlier acquisitions count as gone from the device from here on."""
    from blissdata.lima.client import prepare_next_lima_acquisition

    return int(prepare_next_lima_acquisition(data_store, server_url))


def saved_files(layout: FileLayout, nb_receivers: int, nb_frames: int, by_master: bool | None = None) -> dict[str, Any]:
    """The part of ``lima_info`` about files. One receiver: its own files. Several, or ``by_master``: the master file,
    which is there when all is saved. ``nb_frames`` are the processed frames of an acquisition, 0 endless."""
    if not (nb_receivers > 1 if by_master is None else by_master):
        path, frames_per_file = _numbered(layout), layout.nb_frames_per_file
    else:
        path, frames_per_file = _one_for_all(layout), nb_frames or ENDLESS_FRAMES_PER_FILE
    return {
        "file_path": path,
        "data_path": layout.data_path,
        "frame_per_file": frames_per_file,
        "file_offset": 0,
        "file_format": FILE_FORMAT,
    }


def saved_sparse_files(layout: FileLayout, nb_receivers: int, nb_frames: int) -> dict[str, Any]:
    """Where sparse frames are saved, for the info of stream ``nb_sparse`` under `SPARSE_FILES`: readers go on there
    with what Redis has no room for. Arguments as of `saved_files`."""
    files = saved_files(layout, nb_receivers, nb_frames)
    return {**files, "data_path": layout.sparse_path, "frame_per_acquisition": nb_frames}


def lima_info(
    server_url: str,
    buffer_max_number: int,
    nb_frames: int,
    acquisition_offset: int,
    files: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """``lima_info`` of an image stream.

    ``buffer_max_number``: how many of the newest frames the image device can surely still give, over all receivers
    (depth of one receiver's frame store times the number of receivers). ``files``: of `saved_files`, None if unsaved.
    """
    if buffer_max_number < 1:
        raise ParameterError(
            f"buffer_max_number = {buffer_max_number}: at least one frame is kept; give the true depth"
        )
    return {
        "protocol_version": PROTOCOL_VERSION,
        "server_url": server_url,
        "buffer_max_number": buffer_max_number,
        "frame_per_acquisition": nb_frames,
        "acquisition_offset": acquisition_offset,
        **(files or {}),
    }


def _numbered(layout: FileLayout) -> str:
    stem, number = str(layout.receiver_file(0, 0)).rsplit("_", 1)
    pattern = f"{_escaped(stem)}_%0{len(number) - len('.h5')}d.h5"
    assert pattern % 7 == str(layout.receiver_file(0, 7)), "file names of FileLayout are no longer numbered last"
    return pattern


def _one_for_all(layout: FileLayout) -> str:
    master = layout.master_file
    return f"{_escaped(str(master.with_suffix('')))}%.0s{master.suffix}"


def _escaped(path: str) -> str:
    return path.replace("%", "%%")
