"""Makes the nodes of the legacy pipeline."""

from __future__ import annotations

import logging

import numpy as np

from lima2_bliss.contract import ImageTransform
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_receivers.engine.memory import processed_pool_size, reorder_window
from lima2_receivers.engine.plugin import FrameOutput, Node, PipelineGraph, PipelineSetup
from lima2_receivers.kernels import integer_limit, warm_up
from lima2_receivers.pipelines.legacy.corrections import Corrections, load_corrections, load_mask
from lima2_receivers.pipelines.legacy.plan import Plan, make_plan
from lima2_receivers.pipelines.measuring import measuring_nodes
from lima2_receivers.pipelines.nodes import (
    AccumulationNode,
    CorrectionNode,
    CountrateNode,
    GeometryNode,
    MaskNode,
)

logger = logging.getLogger(__name__)


def build(setup: PipelineSetup) -> PipelineGraph:
    """The nodes of one acquisition, for parameters that passed `check`.

    Without any operation on pixels there is no node that makes new ones: the processed frame is the input buffer.
    """
    processing: LegacyParameters = setup.processing
    warm_up([setup.input.dtype], setup.dummy is not None)
    plan = make_plan(setup)
    corrections = load_corrections(setup, plan)
    making = _pixel_nodes(setup, plan, corrections)
    measuring, streams = measuring_nodes(processing, plan.output.shape, corrections.valid, plan.dummies[3])
    summing: list[Node] = []
    if plan.depth > 1:
        pool = setup.allocate(plan.output, _last_pool_size(processing))
        summing.append(AccumulationNode(pool, plan.depth, plan.dummies[2]))
    return PipelineGraph(
        parallel=[*_protection(setup), *making, *([] if summing else measuring)],
        ordered=[*summing, *measuring] if summing else [],
        results=streams,
        outputs={
            "input_frame": FrameOutput(setup.input, processing.buffers.nb_input_frames_buffer),
            "frame": FrameOutput(plan.output, processing.buffers.nb_frames_buffer, processing.saving),
        },
        transform=plan.transform,
        accumulation=plan.depth,
        threads=processing.thread.nb_threads,
        fifo=processing.fifo.nb_fifo_frames,
        metadata={
            "acquisition": setup.acquisition.model_dump(mode="json"),
            "processing": processing.model_dump(mode="json"),
            "image_transform": _described(plan.transform),
        },
    )


def _described(transform: ImageTransform) -> dict[str, object]:
    """The geometry for file headers, with the ROI written out."""
    rows, columns = transform.cropped_shape
    return {**transform.to_json(), "roi": list(transform.roi or (0, 0, columns, rows))}


def _last_pool_size(processing: LegacyParameters) -> int:
    """Buffers of the pool whose frames are kept and saved."""
    return processed_pool_size(
        processing.buffers.nb_frames_buffer, processing.fifo.nb_fifo_frames, processing.thread.nb_threads
    )


def _pixel_nodes(setup: PipelineSetup, plan: Plan, corrections: Corrections) -> list[Node]:
    """The nodes that make new pixels before accumulation, each with its pool."""
    processing: LegacyParameters = setup.processing
    threads = processing.thread.nb_threads
    in_work = reorder_window(threads) + 1  # frames that are on their way to the next pixels, and not kept
    kept = in_work if plan.depth > 1 else _last_pool_size(processing)
    origin = plan.window[:2]
    nodes: list[Node] = []
    if plan.correcting:
        pool = setup.allocate(plan.corrected, in_work if plan.needs_geometry else kept)
        if corrections.dark is not None or corrections.gain is not None:
            nodes.append(CorrectionNode(pool, origin, corrections.dark, corrections.gain, plan.dummies[0]))
        else:
            assert corrections.masked is not None
            nodes.append(MaskNode(pool, origin, np.ascontiguousarray(~corrections.masked, np.uint8)))
        origin = (0, 0)
    if plan.needs_geometry:
        pool = setup.allocate(plan.image, kept)
        nodes.append(GeometryNode(pool, origin, plan.transform.binning, plan.placement, plan.dummies[1]))
    return nodes


def _protection(setup: PipelineSetup) -> list[Node]:
    """The count rate protection, if it is asked for and can ever act."""
    protection = setup.processing.max_countrate_protection
    if not protection.enabled:
        return []
    counts = protection.max_countrate * setup.acquisition.acq.expo_time * 1e-6
    limit = integer_limit(counts, setup.input.dtype)
    if limit is None:
        logger.warning(
            "count rate protection cannot act: the limit of %g counts per exposure is above the largest %s value",
            counts,
            setup.input.dtype,
        )
        return []
    masked = load_mask(setup)
    keep = np.ones((1, setup.input.height, setup.input.width), np.uint8)
    if masked is not None:
        keep = np.ascontiguousarray(~masked, np.uint8)
    if setup.masked is not None:
        keep = np.ascontiguousarray(keep * ~setup.masked, np.uint8)
    ignore_max, abort = protection.ignore_max_value, protection.abort_on_protection
    return [CountrateNode(limit, keep, ignore_max, abort, protection.max_countrate, setup.dummy)]
