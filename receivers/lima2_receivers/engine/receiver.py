"""The receiver engine: takes frames in from its source and feeds the pipeline of each acquisition, without Tango."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

from lima2_bliss.contract import (
    AcqState,
    AcquisitionError,
    Lima2Error,
    ParameterError,
)
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters, parse
from lima2_bliss.contract.wire import PipelineStatus
from lima2_receivers.engine.command_turn import CommandTurn
from lima2_receivers.engine.memory import MemoryManager
from lima2_receivers.engine.named_error import named_error
from lima2_receivers.engine.pipeline_build import BuildRequest, build_run, check_raw, input_dispatch, trial_setup
from lima2_receivers.engine.pipeline_run import PipelineRun
from lima2_receivers.engine.plugin import DetectorPlugin, MakeWriter, PipelineClass, SourceContext
from lima2_receivers.engine.run_archive import RunArchive
from lima2_receivers.engine.source_runner import SourceRunner
from lima2_receivers.engine.state_machine import RECEIVER_TABLE, StateMachine

logger = logging.getLogger(__name__)

#: How long a command waits for the one before it, and a reset for the source.
COMMAND_TIMEOUT_S = 2.0
#: How long a source may take to end after `stop` before that is an error.
STOP_TIMEOUT_S = 5.0
#: Finished acquisitions kept; the oldest goes at the next prepare.
MAX_PIPELINES = 4


class ReceiverEngine:
    """Life cycle of one receiver. Commands come from any thread, one at a time, and return at once.

    Several acquisitions are alive at the same time, by uuid: the current one, and older ones that still process or
    are kept for readers until erased (the oldest ones erase themselves when memory is needed).
    """

    def __init__(
        self,
        name: str,
        plugin: DetectorPlugin,
        pipelines: Mapping[str, PipelineClass],
        make_writer: MakeWriter,
        rank: int,
        nb_receivers: int,
        context: SourceContext,
        memory_budget_bytes: int | None = None,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        max_pipelines: int = MAX_PIPELINES,
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.pipeline_classes = pipelines
        self.rank = rank
        self.nb_receivers = nb_receivers
        self.last_error: Lima2Error | None = None
        self._archive = RunArchive(name)
        self.memory = MemoryManager(memory_budget_bytes, self._archive.erase_oldest, self._archive.erasable_bytes)
        self._make_writer = make_writer
        self._command_timeout_s = command_timeout_s
        self.max_pipelines = max_pipelines
        self._machine = StateMachine(RECEIVER_TABLE, f"receiver {name}")
        self._turn = CommandTurn(f"receiver {name}", self._machine, command_timeout_s)
        self._current: PipelineRun | None = None
        self._acquisition: AcquisitionParameters | None = None
        self._processing: tuple[PipelineClass, Parameters] | None = None
        self._checked_together = False
        self._source = plugin.make_source(context)
        self._runner = SourceRunner(name, self._source, stop_timeout_s, self._source_ended)

    # --- looking at it -------------------------------------------------------------------------------------------

    @property
    def state(self) -> AcqState:
        return self._machine.state

    @property
    def state_revision(self) -> int:
        """Number of state changes so far."""
        return self._machine.revision

    @property
    def nb_frames_xferred(self) -> int:
        """Frames received in the current acquisition."""
        return 0 if self._current is None else self._current.received

    @property
    def pipelines(self) -> Mapping[str, PipelineRun]:
        """Acquisitions by uuid, the newest last (a copy)."""
        return self._archive.all()

    def pipeline(self, uuid: str = "") -> PipelineRun:
        """The acquisition ``uuid``, or the newest one for an empty uuid."""
        return self._archive.get(uuid)

    def end_of(self, uuid: str) -> PipelineStatus | None:
        """The last status of an acquisition that was erased not long ago."""
        return self._archive.end_of(uuid)

    def source_endpoints(self) -> dict[str, str]:
        """Addresses where the detector's control reaches the source."""
        return self._source.endpoints()

    def require(self, command: str) -> None:
        """`StateError` unless ``command`` (`Prepare`, `Start`, `Stop`, `Reset`) is allowed now."""
        self._machine.require(command)

    def subscribe_state(self, callback: Callable[[AcqState], None]) -> Callable[[], None]:
        """Call ``callback`` with every new state; returns the unsubscribe function."""
        return self._machine.subscribe(callback)

    def on_erased(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the uuid of every acquisition that is erased, for whatever reason."""
        self._archive.on_erased(callback)

    # --- parameters ----------------------------------------------------------------------------------------------

    def check_acquisition(self, json_text: str | bytes) -> AcquisitionParameters:
        """Validate and remember the acquisition parameters; one `ParameterError` names every fault."""
        parameters = parse(self.plugin.parameters, json_text, "acquisition parameters")
        self._source.frame_info(parameters)
        self._source.conditioning(parameters)
        self._acquisition = parameters
        self._checked_together = False
        return parameters

    def check_processing(self, json_text: str | bytes) -> Parameters:
        """Validate and remember the processing parameters (against the acquisition parameters checked before)."""
        try:
            content = json.loads(json_text)
        except ValueError as error:
            raise ParameterError(f"processing parameters are not valid JSON: {error}") from None
        offered = self.pipeline_classes
        only = next(iter(offered)) if len(offered) == 1 else None
        class_name = content.get("class_name", only) if isinstance(content, dict) else None
        if not isinstance(class_name, str) or class_name not in offered:
            raise ParameterError(
                f"processing parameters: class_name = {class_name!r} is not a pipeline; allowed: {', '.join(offered)}"
            )
        pipeline = offered[class_name]
        parameters = parse(pipeline.parameters, content, "processing parameters")
        if self._acquisition is not None:
            self._check_together(self._request("", pipeline, parameters, self._acquisition))
        self._processing = (pipeline, parameters)
        self._checked_together = self._acquisition is not None
        return parameters

    # --- commands --------------------------------------------------------------------------------------------------

    def prepare(self, uuid: str) -> None:
        """Make the pipeline of acquisition ``uuid`` and get the source ready; nothing sent from here on is lost.

        On failure nothing of it is left and the state is IDLE.
        """
        with self._turn.of("Prepare"):
            if self._acquisition is None or self._processing is None:
                raise ParameterError(f"receiver {self.name}: write acq_params and proc_params before Prepare")
            if not uuid or uuid in self._archive:
                raise ParameterError(f"receiver {self.name}: Prepare needs a new uuid, not {uuid!r}")
            self._abandon_prepared()
            pipeline, processing = self._processing
            try:
                request = self._request(uuid, pipeline, processing, self._acquisition)
                if not self._checked_together:
                    self._check_together(request)
                while len(self._archive) >= self.max_pipelines and self._archive.erase_oldest():
                    pass
                run = build_run(request, self.memory, self._make_writer, self._source.prepare)
            except Exception as error:
                self._machine.fire("unprepare")
                self.last_error = named_error(error, f"receiver {self.name}", "prepare", receiver=self.name)
                raise self.last_error from error
            self.memory.settle()
            self.last_error = None
            self._current = run
            self._archive.add(run)
            run.on_error(lambda error: self._run_failed(run, error))
            self._machine.fire("Prepare")

    def start(self) -> None:
        """Start to receive."""
        with self._turn.of("Start"):
            run = self._current
            assert run is not None
            run.start()
            self._machine.fire("Start")
            self._runner.start(run)

    def stop(self) -> None:
        """End at the source's cut; the pipeline goes on with what was received. Harmless when nothing runs."""
        with self._turn.of("Stop"):
            if self.state is AcqState.PREPARED:
                self._abandon_prepared()
            if self._machine.fire("Stop") is AcqState.RUNNING:
                self._runner.stop()

    def reset(self) -> None:
        """Back to IDLE from anything; an acquisition that is running is aborted, one that still processes goes on."""
        with self._turn.of("Reset"):
            self._abandon_prepared()
            error = AcquisitionError(f"receiver {self.name}: the acquisition was ended by a reset")
            self._runner.end(error, self._command_timeout_s * 0.8)
            self.last_error = None
            self._machine.fire("Reset")

    def erase(self, uuid: str) -> None:
        """Free the memory of a finished acquisition; `StateError` when it is not finished."""
        with self._turn.wait_for("erasePipeline"):
            run = self.pipeline(uuid)
            if run is self._current and self.state is AcqState.PREPARED:
                self._abandon_prepared()
                self._machine.fire("unprepare")
                return
            self._archive.erase(run)

    def close(self) -> None:
        """The process ends: abort what runs, close files, join threads, release the source. Harmless twice."""
        with self._turn.wait_for("close"):
            if self.state is AcqState.TERMINATE:
                return
            self._machine.fire("terminate")
            error = AcquisitionError(f"receiver {self.name} was shut down")
            try:
                self._runner.end(error, self._command_timeout_s)
            finally:
                for run in self.pipelines.values():
                    run.abort(error)
                    if run.finished.wait(self._command_timeout_s):
                        self._archive.erase(run)
                    else:
                        logger.error("%s: acquisition %s did not finish in time", self.name, run.uuid)
                self._source.close()

    @staticmethod
    def _check_together(request: BuildRequest) -> None:
        check_raw(request)
        request.pipeline.check(trial_setup(request))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _request(
        self, uuid: str, pipeline: PipelineClass, processing: Parameters, acquisition: AcquisitionParameters
    ) -> BuildRequest:
        return BuildRequest(
            uuid=uuid,
            receiver=self.name,
            rank=self.rank,
            dispatch=input_dispatch(processing, self.nb_receivers),
            pipeline=pipeline,
            acquisition=acquisition,
            processing=processing,
            raw=self._source.frame_info(acquisition),
            conditioning=self._source.conditioning(acquisition),
        )

    def _source_ended(self) -> None:
        self._machine.fire("done", when=(AcqState.RUNNING,))

    def _run_failed(self, run: PipelineRun, error: Lima2Error) -> None:
        """FAULT if ``run`` was receiving; an older acquisition only keeps its error to itself."""
        if run is not self._current:
            return
        self.last_error = error
        self._machine.fire("fail", when=(AcqState.PREPARED, AcqState.RUNNING))
        self._runner.stop_soon()

    def _abandon_prepared(self) -> None:
        """Drop the acquisition that was prepared and will never start: it has no frames."""
        run = self._current
        if run is None or self.state is not AcqState.PREPARED:
            return
        run.abort()
        if run.finished.wait(self._command_timeout_s / 2):
            self._archive.erase(run)
