"""A consumer gets back what was published: with the installed blissdata, and in a process with blissdata 2.4."""

import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from lima2_bliss.contract import DeviceTimeoutError, FrameFlags, NoLongerAvailableError, NotAvailableError
from lima2_bliss.publishing.lima_info import lima_info, next_acquisition
from lima2_bliss.publishing.readers import DetectorData
from lima2_bliss.publishing.sparse_places import saved_place

ROOT = Path(__file__).resolve().parents[2]


def publish(setup, frames, finish=True):
    publication = setup.publish()
    for receiver in setup.receivers:
        receiver.feeder.feed(receiver.feeder.dispatch.count(receiver.feeder.rank, frames))
        receiver.feeder.end()
    publication.wait(frames, 5)
    if finish:
        publication.finish()
        assert publication.wait(frames + 1, 5).state == "done"
        setup.scan.stop()
    return publication


def load(setup):
    return DetectorData(setup.server.store.load_scan(setup.scan.key), "det")


def test_a_roi_table_has_a_row_per_frame_with_all_statistics(make_setup):
    setup = make_setup(2)
    publish(setup, 9)
    data = load(setup)
    assert data.roi_names == ["roi1", "roi2"]
    table = data.roi_statistics("roi2")
    np.testing.assert_array_equal(table["frame_index"], np.arange(9))
    np.testing.assert_array_equal(table["std"], np.arange(9) * 10 + 1002)
    assert table.dtype.names == ("frame_index", "frame_flags", "timestamp", "sum", "avg", "std", "min", "max")
    np.testing.assert_array_equal(data["profile1"][:, 3], np.arange(9) + 0.3)
    assert data.last_preview()[0] == 8


def test_following_gives_the_rows_of_several_streams_together_until_the_scan_ends(make_setup):
    setup = make_setup(1)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder

    def acquire():
        for _ in range(20):
            feeder.feed(1 + _ % 3)
            publication.wait(feeder.log.frames, 5)
        feeder.end()
        publication.finish()
        publication.wait(2**40, 5)
        setup.scan.stop()

    thread = threading.Thread(target=acquire, daemon=True)
    thread.start()
    batches = list(load(setup).follow(["frame_index", "roi1_sum", "profile1"], timeout_s=5))
    thread.join(5)
    indices = np.concatenate([batch["frame_index"] for batch in batches])
    np.testing.assert_array_equal(indices, np.arange(feeder.log.frames))
    assert [batch.first for batch in batches] == [batch["frame_index"][0] for batch in batches]
    for batch in batches:
        np.testing.assert_array_equal(batch["roi1_sum"], batch["frame_index"] * 10)
        assert len(batch) == len(batch["profile1"])


def test_following_says_when_nothing_comes(make_setup):
    setup = make_setup(1)
    with pytest.raises(DeviceTimeoutError, match="det:roi1_sum"):
        next(load(setup).follow(["roi1_sum"], timeout_s=0.2))


def test_unknown_detectors_streams_and_rois_are_named_with_what_there_is(make_setup):
    setup = make_setup(1)
    with pytest.raises(NotAvailableError, match="streams of: det"):
        DetectorData(setup.server.store.load_scan(setup.scan.key), "dat")
    with pytest.raises(NotAvailableError, match="profile1"):
        load(setup).stream("profile2")
    with pytest.raises(NotAvailableError, match="roi1, roi2"):
        load(setup).roi_statistics("roi3")


def test_unsaved_frames_that_left_the_memory_are_gone(make_setup):
    setup = make_setup(1, lima_info=lima_info("nobody/limaimage/x", 2, 0, 0))
    next_acquisition(setup.server.store, "nobody/limaimage/x")
    publish(setup, 5)
    with pytest.raises(NoLongerAvailableError, match="was not saved"):
        load(setup).frame(0)
    with pytest.raises(NotAvailableError, match="5 frames are published"):
        load(setup).frame(5)


def test_the_place_of_a_saved_frame_is_the_one_blissdata_computes():
    from blissdata.lima.client import LimaRefClient

    info = lima_info("x/y/z", 1, 7, 0) | {
        "file_path": "/d/f_%05d.h5", "data_path": "/p", "frame_per_file": 3, "file_offset": 2, "file_format": "hdf5",
    }  # fmt: skip
    client = LimaRefClient(None, **info)
    client.update(29, 29)
    for index in range(30):
        reference = client[index]
        assert saved_place(info, index) == (reference.file_path, reference.index)


BY_BLISSDATA_2 = """
import sys, importlib.metadata
import numpy as np
from blissdata.redis_engine.store import DataStore
from lima2_bliss.publishing.readers import DetectorData
assert importlib.metadata.version("blissdata").startswith("2.")
url, key, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = DetectorData(DataStore(url).load_scan(key), "det")
table = data.roi_statistics("roi1")
assert np.array_equal(table["frame_index"], np.arange(frames)), table
hole = table["frame_flags"] != 0
assert np.array_equal(table["sum"][~hole], np.arange(frames)[~hole] * 10.0) and np.isnan(table["sum"][hole]).all()
assert hole.sum() == 1
batches = list(data.follow(["frame_index", "profile1"], timeout_s=5))
assert np.array_equal(np.concatenate([b["frame_index"] for b in batches]), np.arange(frames))
assert np.concatenate([b["profile1"] for b in batches]).shape == (frames, 6)
assert data.last_preview()[1].shape == (12, 20)
assert len(data.stream("image")) == frames
assert all(data.stream(name).is_sealed() for name in data.names)
print("ok")
"""


def test_blissdata_2_reads_every_stream(make_setup, blissdata2_python):
    setup = make_setup(1, nb_frames=12)
    publication = setup.publish()
    feeder = setup.receivers[0].feeder
    feeder.feed(5)
    feeder.feed(1, FrameFlags.LOST)
    feeder.feed(6)
    feeder.end()
    publication.wait(12, 5)
    publication.finish()
    assert publication.wait_end(5).state == "done"
    setup.scan.stop()
    done = subprocess.run(
        [blissdata2_python, "-c", BY_BLISSDATA_2, setup.url, setup.scan.key, "12"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "ok", done.stderr
