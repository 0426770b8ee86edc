"""Nodes of the SMX pipeline: rows of every frame, hits, accumulated images."""

import numpy as np

from lima2_bliss.contract import SPOT, FrameFlags, FrameInfo, FrameMeta
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.node_steps import drop_buffer
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.running_mean import RunningMean
from lima2_receivers.kernels.smx_types import FinderResult, PixelCorrections
from lima2_receivers.pipelines.smx.accumulate import ACC_CORRECTED, ACC_PEAKS, AccumulateNode
from lima2_receivers.pipelines.smx.find import FindNode, filled

INFO = FrameInfo(1, 6, 8, np.dtype("<u2"))


class Finder:
    """Says that every pixel above 10 is a spot of one pixel."""

    backend = "reference"
    intensity_dtype = np.dtype("u2")

    def __call__(self, image):
        index = np.flatnonzero(image > 10).astype("i4")
        spots = np.zeros(len(index), SPOT)
        spots["y"], spots["x"] = np.unravel_index(index, image.shape)
        return FinderResult(np.full(4, 1.5, "f4"), np.full(4, 0.5, "f4"), index, image.ravel()[index], spots, 2)

    def close(self):
        pass


def frame(pool, local, places=()):
    buffer = pool.take()
    buffer.data[...] = local
    for y, x in places:
        buffer.data[0, y, x] = 50
    return FrameItem(FrameMeta(2 * local, local), buffer)


def test_rows_and_hit_of_a_frame():
    pool = BufferPool(INFO, 1)
    item = FindNode(Finder(), 4, min_spots=2).process(frame(pool, 3, [(1, 2), (5, 7)]))
    assert item.rows["smx_frame"].tolist() == [(6, 3, 2, 1, 2, 2)]
    assert item.rows["spots"][["frame_idx", "y", "x"]].tolist() == [(6, 1.0, 2.0), (6, 5.0, 7.0)]
    assert item.rows["sparse"].tolist() == [(10, 50.0), (47, 50.0)]
    assert item.rows["background"].tolist() == [(1.5, 0.5)] * 4
    assert item.meta.hit
    holder, meta = item.more["sparse_frame"]
    assert meta.index == 6
    assert holder.data.is_hit
    assert holder.data.intensity.dtype == np.uint16
    drop_buffer(item)


def test_a_frame_with_too_few_spots_is_no_hit():
    pool = BufferPool(INFO, 1)
    item = FindNode(Finder(), 4, min_spots=2).process(frame(pool, 0, [(1, 2)]))
    assert item.meta.hit is False
    assert item.rows["smx_frame"]["is_hit"].tolist() == [0]
    drop_buffer(item)


def test_a_hole_has_empty_rows():
    item = FindNode(Finder(), 4, min_spots=2).process(FrameItem(FrameMeta(8, 4, flags=FrameFlags.LOST), None))
    assert item.rows["smx_frame"].tolist() == [(8, 4, 0, 0, 0, 0)]
    assert np.isnan(item.rows["background"]["avg"]).all()
    assert len(item.rows["spots"]) == len(item.rows["sparse"]) == 0
    assert item.more["sparse_frame"][0] is None
    assert item.meta.hit is False


def accumulating(transfer, reset=0):
    corrected, peaks = (BufferPool(FrameInfo(1, 6, 8, np.dtype(kind)), 6) for kind in ("<f4", "<u4"))
    mean = RunningMean((6, 8), np.dtype("u2"), PixelCorrections())
    return AccumulateNode(corrected, peaks, mean, transfer, reset)


def handed_out(node, number, places=((1, 2),)):
    """(index, number, mean of a pixel without spot, sum of peaks) of every hand-out of ``number`` frames."""
    pool = BufferPool(INFO, 2)
    find = FindNode(Finder(), 4, min_spots=1)
    seen = []

    def look(item):
        if item is not None and ACC_PEAKS in item.more:
            (mean, meta), (peaks, _) = item.more[ACC_CORRECTED], item.more[ACC_PEAKS]
            seen.append((meta.index, meta.local, float(mean.data[0, 0, 0]), int(peaks.data.sum())))
        if item is not None:
            drop_buffer(item)

    for local in range(number):
        look(node.process(find.process(frame(pool, local, places))))
    look(node.last())
    return seen


def test_images_are_handed_out_every_so_many_frames_and_at_the_end():
    assert handed_out(accumulating(3), 7) == [(4, 0, 1.0, 3), (10, 1, 2.5, 6), (12, 2, 3.0, 7)]


def test_nothing_new_at_the_end_is_not_handed_out_again():
    assert handed_out(accumulating(2), 4) == [(2, 0, 0.5, 2), (6, 1, 1.5, 4)]


def test_images_start_anew():
    assert handed_out(accumulating(2, reset=4), 6) == [(2, 0, 0.5, 2), (6, 1, 1.5, 4), (10, 2, 4.5, 2)]


def test_holes_add_nothing():
    node = accumulating(2)
    find = FindNode(Finder(), 4, min_spots=1)
    pool = BufferPool(INFO, 1)
    first = node.process(find.process(frame(pool, 8, [(0, 1), (0, 1)])))
    assert ACC_PEAKS not in first.more
    drop_buffer(first)
    item = node.process(find.process(FrameItem(FrameMeta(18, 9, flags=FrameFlags.LOST), None)))
    assert item.more[ACC_CORRECTED][0].data[0, 0, 0] == 8.0
    assert item.more[ACC_PEAKS][0].data[0, 0, 1] == 1
    drop_buffer(item)


def test_empty_bins_of_a_sparse_frame_are_filled_from_their_neighbours():
    values = np.array([np.nan, 2.0, np.nan, 4.0, np.nan], "f4")
    assert filled(values).tolist() == [2.0, 2.0, 3.0, 4.0, 4.0]
    assert filled(values).dtype == np.float32
    assert np.isnan(filled(np.full(3, np.nan, "f4"))).all()
