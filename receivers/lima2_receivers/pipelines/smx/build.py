"""Makes the nodes of the SMX pipeline."""

from __future__ import annotations

import os

import numpy as np

from lima2_bliss.contract import FrameInfo, ImageTransform, SparseInfo
from lima2_bliss.contract.parameters import SmxParameters
from lima2_receivers.engine.plugin import FrameOutput, PipelineGraph, PipelineSetup
from lima2_receivers.kernels.running_mean import RunningMean
from lima2_receivers.kernels.smx import make_finder, warm_up_smx
from lima2_receivers.kernels.smx_types import Finder, FinderSettings
from lima2_receivers.pipelines.measuring import measuring_nodes
from lima2_receivers.pipelines.smx.accumulate import ACC_CORRECTED, ACC_PEAKS, AccumulateNode
from lima2_receivers.pipelines.smx.find import SPARSE_FRAME, FindNode, smx_streams
from lima2_receivers.pipelines.smx.tables import Tables, load_tables

#: Accumulated images that may be on their way to a file or a reader, beside those kept.
SPARE_IMAGES = 4


def build(setup: PipelineSetup) -> PipelineGraph:
    """The nodes of one acquisition, for parameters that passed `check`. The dense frame is the raw one, not a copy."""
    processing: SmxParameters = setup.processing
    tables = load_tables(processing.fai, setup.input, setup.masked, setup.dummy)
    if processing.compute.backend in ("auto", "cpu"):
        warm_up_smx(setup.input.dtype)
    finder = make_smx_finder(processing, tables, setup.input.dtype)
    bins = tables.bins
    valid = np.isfinite(bins.radius).reshape(1, *bins.shape)
    measuring, region_streams = measuring_nodes(processing, setup.input.shape, valid, setup.dummy)
    outputs = _frame_outputs(setup, tables, finder)
    accumulate = _accumulation(setup, tables, outputs)
    return PipelineGraph(
        parallel=[FindNode(finder, bins.nb_bins, processing.peaks.min_spots), *measuring],
        ordered=[] if accumulate is None else [accumulate],
        results=[*smx_streams(bins.nb_bins), *region_streams],
        outputs=outputs,
        transform=ImageTransform(bins.shape),
        threads=processing.thread.nb_threads,
        fifo=processing.fifo.nb_fifo_frames,
        metadata={
            "acquisition": setup.acquisition.model_dump(mode="json"),
            "processing": processing.model_dump(mode="json"),
            "geometry": tables.description,
            "backend": finder.backend,
        },
        last=(lambda: None) if accumulate is None else accumulate.last,
        close=finder.close,
    )


def make_smx_finder(processing: SmxParameters, tables: Tables, dtype: np.dtype) -> Finder:
    """The finder that these parameters ask for, for raw frames of ``dtype``."""
    fai, peaks, compute = processing.fai, processing.peaks, processing.compute
    limited = bool(fai.radius_min or fai.radius_max)
    settings = FinderSettings(
        error_model=fai.error_model,
        cutoff_clip=fai.cutoff_clip,
        cycle=fai.cycle,
        cutoff_pick=fai.cutoff_pick,
        noise=fai.noise,
        radial_range=(fai.radius_min, fai.radius_max or float("inf")) if limited else None,
        cutoff_peak=peaks.cutoff_peak,
        patch_size=peaks.patch_size,
        connected=peaks.connected,
        max_spots=peaks.max_spots,
    )
    cores = max(len(os.sched_getaffinity(0)) // processing.thread.nb_threads, 1)
    threads = compute.threads_per_frame or cores
    return make_finder(tables.bins, tables.corrections, settings, dtype, compute.backend, threads, compute.device)


def _frame_outputs(setup: PipelineSetup, tables: Tables, finder: Finder) -> dict[str, FrameOutput]:
    processing: SmxParameters = setup.processing
    bins = tables.bins
    sparse = SparseInfo(
        shape=bins.shape,
        dtype=finder.intensity_dtype,
        radius=bins.centers,
        mask=bins.radius.reshape(bins.shape),
        unit=tables.unit,
        normalization=None
        if tables.corrections.normalization is None
        else tables.corrections.normalization.reshape(bins.shape),
        max_spots=processing.peaks.max_spots,
    )
    buffers = processing.buffers
    return {
        "frame": FrameOutput(setup.input, buffers.nb_frames_buffer, processing.saving_dense, processing.veto_dense),
        SPARSE_FRAME: FrameOutput(
            sparse, buffers.nb_sparse_frames_buffer, processing.saving_sparse, processing.veto_sparse
        ),
    }


def _accumulation(setup: PipelineSetup, tables: Tables, outputs: dict[str, FrameOutput]) -> AccumulateNode | None:
    """The accumulating node with its frame sources, which are added to ``outputs``; None when nothing is handed out."""
    processing: SmxParameters = setup.processing
    transfer = processing.fai.acc_nb_frames_xfer
    if not transfer:
        return None
    shape = tables.bins.shape
    kept = processing.buffers.nb_accumulated_buffer
    corrected = FrameInfo(1, *shape, np.dtype("<f4"))
    peaks = FrameInfo(1, *shape, np.dtype("<u4"))
    outputs[ACC_CORRECTED] = FrameOutput(corrected, kept, processing.saving_accumulation_corrected)
    outputs[ACC_PEAKS] = FrameOutput(peaks, kept, processing.saving_accumulation_peak)
    means, counts = (setup.allocate(info, kept + SPARE_IMAGES) for info in (corrected, peaks))
    mean = RunningMean(shape, setup.input.dtype, tables.corrections)
    return AccumulateNode(means, counts, mean, transfer, processing.fai.acc_nb_frames_reset)
