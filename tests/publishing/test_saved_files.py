"""What `lima_info` says of saved files is what blissdata 1.1.4, blissdata 2.4 and blisswriter find there."""

import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from blissdata.lima.client import lima_client_factory
from blisswriter.io import nexus
from blisswriter.writer.datasets import Hdf5DatasetWriter

from lima2_bliss.contract import FrameInfo, FrameMeta, RoundRobin
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.publishing.lima_info import lima_info, next_acquisition, saved_files
from lima2_bliss.publishing.readers import DetectorData
from lima2_receivers.saving import make_writer, write_master

INFO = FrameInfo(1, 12, 16, np.dtype("<u2"))
GONE = "nobody/limaimage/gone"


def pixels_of(index: int) -> np.ndarray:
    return (np.arange(INFO.height * INFO.width).reshape(INFO.shape) + 100 * index).astype(INFO.dtype)


def save(directory: Path, nb_receivers: int, nb_frames: int) -> Saving:
    """Frames in receiver files of 4, and the master file, by the project's own writers."""
    saving = Saving(enabled=True, base_path=str(directory), filename_prefix="run", nb_frames_per_file=4)
    dispatch = RoundRobin(nb_receivers)
    counts = [dispatch.count(rank, nb_frames) for rank in range(nb_receivers)]
    for rank, count in enumerate(counts):
        writer = make_writer(saving.model_copy(update={"filename_rank": rank}), INFO, rank, {})
        for local in range(count):
            index = dispatch.global_index(rank, local)
            writer.write(pixels_of(index), FrameMeta(index, local))
        writer.close()
    write_master(MasterJob(saving=saving, counts=counts, shape=INFO.shape, dtype="uint16"))
    return saving


@pytest.fixture(params=[(1, 10, 10), (1, 20, 10), (2, 20, 13), (3, 0, 7)], ids=lambda p: f"{p[0]}recv-{p[2]}of{p[1]}")
def saved(request, tmp_path):
    """(lima_info of an acquisition that its image device has forgotten, number of frames saved)."""
    nb_receivers, asked, taken = request.param
    # HDF5 itself takes no % in the file names of a virtual dataset, so blisswriter cannot have one
    directory = tmp_path / ("beam" if "blisswriter" in request.node.name else "100% beam")
    directory.mkdir()
    saving = save(directory, nb_receivers, taken)
    return lima_info(GONE, 1, asked, 0, saved_files(saving.layout(), nb_receivers, asked)), taken


def image_scan(make_setup, info, taken):
    setup = make_setup(1, lima_info=info)
    store = setup.server.store
    next_acquisition(store, GONE)
    next_acquisition(store, GONE)  # another acquisition has begun: the device cannot help
    stream = next(s for name, s in setup.scan._writer_streams.items() if name.endswith(":image"))
    stream.send({"last_index": taken - 1, "last_index_saved": taken - 1})
    stream.join()
    return setup


def test_blissdata_1_reads_every_frame_from_the_files(make_setup, saved):
    info, taken = saved
    setup = image_scan(make_setup, info, taken)
    image = setup.server.store.load_scan(setup.scan.key).streams["det:image"]
    assert len(image) == taken
    for index in range(taken):
        np.testing.assert_array_equal(image[index], pixels_of(index)[0])


def test_our_reader_gives_all_frames_of_a_scan_that_has_ended(make_setup, saved):
    info, taken = saved
    setup = image_scan(make_setup, info, taken)
    setup.scan.stop()
    frames = list(DetectorData(setup.server.store.load_scan(setup.scan.key), "det").frames(start=2))
    assert [index for index, _ in frames] == list(range(2, taken))
    for index, frame in frames:
        np.testing.assert_array_equal(frame, pixels_of(index)[0])


READ_BY_BLISSDATA_2 = """
import sys
import numpy as np
from blissdata.redis_engine.store import DataStore
url, key, taken, height, width = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
image = DataStore(url).load_scan(key).streams["det:image"]
assert len(image) == taken, len(image)
ramp = np.arange(height * width).reshape(height, width)
for index in range(taken):
    assert np.array_equal(image[index], ramp + 100 * index), index
assert np.array_equal(image[0:taken], ramp + 100 * np.arange(taken)[:, None, None])
assert len(image.get_references(slice(0, taken))) == taken
print("ok")
"""


def test_blissdata_2_reads_every_frame_from_the_files(make_setup, saved, blissdata2_python):
    info, taken = saved
    setup = image_scan(make_setup, info, taken)
    setup.scan.stop()
    arguments = [setup.url, setup.scan.key, str(taken), str(INFO.height), str(INFO.width)]
    done = subprocess.run(
        [blissdata2_python, "-c", READ_BY_BLISSDATA_2, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "ok", done.stderr


@pytest.mark.parametrize("scan_shape", [(0,), None])
def test_blisswriter_makes_a_virtual_dataset_of_the_files(redis_server, saved, tmp_path, scan_shape):
    info, taken = saved
    # as blisswriter.writer.main does for a lima channel
    client = lima_client_factory(redis_server.store, {"format": "lima_v1", "lima_info": info}, ref_mode=True)
    client.update(last_index=taken - 1, last_index_saved=taken - 1)
    urls = [(f"{ref.file_path}::{ref.data_path}", ref.index) for ref in client[0:]]
    main_file = str(tmp_path / "scan.h5")
    with nexus.nxRoot(main_file, mode="w") as root:
        nexus.nxEntry(root, "1.1")
    writer = Hdf5DatasetWriter(
        filename=main_file,
        parent="/1.1",
        device={"data_name": "image", "data_alias": None, "data_info": {}},
        scan_shape=scan_shape or (taken,),
        scan_save_shape=scan_shape or (taken,),
        detector_shape=(INFO.height, INFO.width),
        external_images_per_file=info["frame_per_file"],
        dtype="uint16",
    )
    for url in urls:
        writer.add_external([url], "hdf5")
    writer.flush()
    with h5py.File(main_file) as file:
        data = file["/1.1/image"]
        assert data.is_virtual
        assert data.shape == (taken, INFO.height, INFO.width)
        np.testing.assert_array_equal(data[()], np.stack([pixels_of(index)[0] for index in range(taken)]))
