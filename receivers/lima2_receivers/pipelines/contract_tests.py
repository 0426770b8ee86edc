"""Tests that every pipeline must pass. Inherit in your test file::

class TestMyPipeline(PipelineContract):
    pipeline = PIPELINE
    examples = {"defaults": {}, "with mask": {"mask": {...}}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError, RoundRobin
from lima2_bliss.contract.parameters import parse
from lima2_bliss.contract.wire import STREAM_DTYPES
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.node_steps import drop_buffer, run_nodes
from lima2_receivers.engine.plugin import FrameItem, PipelineClass
from lima2_receivers.pipelines.trial import Trial, trial_setup


def refused(call: Callable[[], object]) -> ParameterError:
    """The `ParameterError` that ``call`` must raise."""
    try:
        call()
    except ParameterError as error:
        return error
    raise AssertionError("parameters that cannot work were accepted")


class PipelineContract:
    """What the engine, the saving and the clients rely on. ``examples`` are processing parameters by name."""

    pipeline: ClassVar[PipelineClass]
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {"defaults": {}}
    #: Raw frames that the examples are tried with.
    inputs: ClassVar[tuple[FrameInfo, ...]] = (
        FrameInfo(1, 64, 96, np.dtype("<u2")),
        FrameInfo(2, 64, 96, np.dtype("<f4")),
    )

    def trials(self) -> Iterator[tuple[str, Trial]]:
        for name, processing in self.examples.items():
            for info in self.inputs:
                depth = getattr(parse(self.pipeline.parameters, dict(processing), name), "accumulation", None)
                block = 1 if depth is None else depth.depth
                acquisition = {"acq": {"nb_frames": 12 * block, "expo_time": 1000}}
                with Trial(
                    self.pipeline,
                    info,
                    processing=processing,
                    acquisition=acquisition,
                    rank=1,
                    dispatch=RoundRobin(2, block),
                ) as trial:
                    yield f"{name} on {info.nb_channels} x {info.dtype}", trial

    @staticmethod
    def frames(trial: Trial, number: int) -> list[np.ndarray]:
        """Different frames of small counts."""
        random = np.random.default_rng(11)
        return [random.integers(0, 60, trial.setup.input.shape).astype(trial.setup.input.dtype) for _ in range(number)]

    # --- what it says of itself -----------------------------------------------------------------------------------

    def test_it_has_a_name_a_class_and_a_version(self) -> None:
        pipeline = self.pipeline
        assert pipeline.name.isidentifier(), f"name {pipeline.name!r} is not a plain word"
        assert pipeline.tango_class.startswith("LimaProcessing"), "clients look for classes named LimaProcessing..."
        assert pipeline.version, "clients show the version"

    def test_its_parameters_have_defaults_a_schema_and_refuse_unknown_keys(self) -> None:
        defaults = self.pipeline.parameters()
        text = defaults.model_dump_json()
        assert parse(self.pipeline.parameters, text, "defaults") == defaults, "defaults do not survive JSON"
        schema = self.pipeline.parameters.model_json_schema()
        assert "class_name" in schema["properties"], "clients choose the pipeline by class_name"
        assert schema["properties"]["class_name"].get("default") == self.pipeline.tango_class
        refusal = refused(lambda: parse(self.pipeline.parameters, {"no_such_parameter": 1}, "parameters"))
        assert "no_such_parameter" in refusal.what, "the error does not name the unknown key"

    def test_check_allocates_nothing(self) -> None:
        def refuse(info: FrameInfo, number: int) -> BufferPool:
            raise AssertionError(f"check allocated {number} buffers of {info}")

        for processing in self.examples.values():
            setup = trial_setup(self.pipeline, self.inputs[0], processing, {"acq": {"nb_frames": 0}}, allocate=refuse)
            self.pipeline.check(setup)

    def test_it_describes_its_outputs_and_results(self) -> None:
        for name, trial in self.trials():
            graph = trial.graph
            assert "frame" in graph.outputs, f"{name}: no output named frame"
            raw = graph.outputs.get("input_frame")
            assert raw is None or raw.info == trial.setup.input, f"{name}: input_frame is not the raw frame"
            assert graph.outputs["frame"].info.shape[1:] == graph.transform.shape, f"{name}: transform and frame differ"
            names = [stream.name for stream in graph.results]
            assert len(set(names)) == len(names), f"{name}: result streams {names} are not unique"
            for stream in graph.results:
                known = STREAM_DTYPES.get(stream.name)
                assert known == stream.dtype, f"{name}: stream {stream.name} is not what the wire protocol knows"
                assert not stream.shapes or sum(stream.shapes) == stream.rows_per_frame, (
                    f"{name}: {stream} adds up wrong"
                )
                assert (stream.rows_per_frame is None) == (stream.counted_by is not None), (
                    f"{name}: {stream} has either a fixed number of rows per frame or a column that counts them"
                )

    # --- what it does with frames ---------------------------------------------------------------------------------

    def _rows_are_complete(self, name: str, trial: Trial, item: FrameItem) -> None:
        for stream in trial.graph.results:
            rows = item.rows.get(stream.name)
            assert rows is not None, f"{name}: no rows of {stream.name}"
            assert rows.dtype == stream.dtype, f"{name}: rows of {stream.name} have another dtype"
            expected = stream.rows_per_frame
            if stream.counted_by is not None:
                counting, column = stream.counted_by
                expected = int(item.rows[counting][column][0])
            assert len(rows) == expected, f"{name}: {len(rows)} rows of {stream.name}, expected {expected}"
            if "frame_idx" in (stream.dtype.names or ()):
                assert (rows["frame_idx"] == item.meta.index).all(), f"{name}: rows of {stream.name} name another frame"

    def test_every_frame_gives_pixels_and_rows_with_output_indices(self) -> None:
        for name, trial in self.trials():
            depth, info = trial.graph.accumulation, trial.graph.outputs["frame"].info
            dispatch = RoundRobin(2)
            produced = []
            for pixels in self.frames(trial, 3 * depth):
                item = trial.process(pixels)
                if item is not None:
                    assert item.pixels.shape == info.shape, (
                        f"{name}: frame of {item.pixels.shape}, promised {info.shape}"
                    )
                    assert item.pixels.dtype == info.dtype, f"{name}: frame of {item.pixels.dtype}, not {info.dtype}"
                    assert item.meta.flags.valid, f"{name}: a good frame came out with {item.meta.flags!r}"
                    self._rows_are_complete(name, trial, item)
                    produced.append((item.meta.index, item.meta.local))
                    drop_buffer(item)
            expected = [(dispatch.global_index(1, local), local) for local in range(3)]
            assert produced == expected, f"{name}: output frames {produced}, expected {expected}"

    def test_a_lost_frame_becomes_a_hole_with_all_its_rows(self) -> None:
        for name, trial in self.trials():
            item = None
            for _ in range(trial.graph.accumulation):
                item = trial.process(None)
            assert item is not None, f"{name}: the hole did not come out"
            assert item.buffer is None, f"{name}: a lost frame got pixels"
            assert not item.meta.flags.valid, f"{name}: a lost frame is not flagged"
            self._rows_are_complete(name, trial, item)

    def test_no_buffer_is_left_behind(self) -> None:
        for name, trial in self.trials():
            for pixels in (*self.frames(trial, 2 * trial.graph.accumulation), None):
                item = trial.process(pixels)
                if item is not None:
                    drop_buffer(item)
            assert trial.busy == 0, f"{name}: {trial.busy} buffers are still held"

    def test_raw_pixels_are_never_written_to(self) -> None:
        """The raw frame is kept for clients while the nodes work on it."""
        for name, trial in self.trials():
            for pixels in self.frames(trial, trial.graph.accumulation):
                item = trial.item(pixels)
                assert item.buffer is not None
                raw = item.buffer.retain()
                following = run_nodes(trial.graph.parallel, item)
                assert following is not None, f"{name}: a parallel node took up a frame"
                following = run_nodes(trial.graph.ordered, following)
                assert np.array_equal(raw.data, pixels), f"{name}: a node changed the raw frame"
                raw.release()
                if following is not None:
                    drop_buffer(following)

    def test_parallel_nodes_may_run_on_several_threads(self) -> None:
        for name, trial in self.trials():
            frames = self.frames(trial, 24)

            def work(pixels: np.ndarray, trial: Trial = trial) -> np.ndarray:
                item = run_nodes(trial.graph.parallel, trial.item(pixels))
                assert item is not None
                result = item.pixels.copy()
                drop_buffer(item)
                return result

            alone = [work(pixels) for pixels in frames]
            with ThreadPoolExecutor(3) as threads:
                together = list(threads.map(work, frames))
            for one, other in zip(alone, together, strict=True):
                assert np.array_equal(one, other), f"{name}: threads disturb each other"

    def test_two_acquisitions_do_not_disturb_each_other(self) -> None:
        for (name, first), (_, second) in zip(self.trials(), self.trials(), strict=True):
            depth = first.graph.accumulation
            frames = self.frames(first, depth)
            results = []
            for pixels in frames:
                second.process(np.zeros_like(pixels))
                results.append(first.process(pixels))
            with_other = results[-1]
            assert with_other is not None
            for pixels in frames:
                alone = second.process(pixels)
            assert alone is not None
            assert np.array_equal(with_other.pixels, alone.pixels), f"{name}: acquisitions share state"

    def test_what_the_detector_masks_or_marks_does_not_count(self) -> None:
        """Rows are the same whatever the pixels hold that have no value: they never have, or not in this frame."""
        for name, trial in self.trials():
            info, random = trial.setup.input, np.random.default_rng(4)
            masked, unmeasured = (random.random(info.shape[1:]) < 0.1 for _ in range(2))
            dummy = None if info.dtype.kind == "f" else 777.0
            rows = []
            for garbage in (0, 500):
                with trial.again(masked=masked, dummy=dummy) as other:
                    item = None
                    for pixels in self.frames(trial, trial.graph.accumulation):
                        pixels[:, unmeasured] = np.nan if dummy is None else dummy
                        pixels[:, masked] = garbage
                        item = other.process(pixels)
                    assert item is not None
                    rows.append(item.rows)
                    drop_buffer(item)
            for stream in rows[0]:
                one, two = (of[stream].tobytes() for of in rows)
                assert one == two, f"{name}: pixels without a value change the rows of {stream}"

    def test_a_frame_of_parameters_that_contradict_is_one_error(self) -> None:
        """An image ROI outside the frame is refused by `check`, as a `ParameterError` and nothing else."""
        outside = {"img": {"roi": {"topleft": {"x": 90, "y": 0}, "dimensions": {"x": 50, "y": 10}}}}
        example = next(iter(self.examples.values()))
        setup = trial_setup(self.pipeline, self.inputs[0], example, outside)
        assert "roi" in refused(lambda: self.pipeline.check(setup)).what, "the error does not name the ROI"
