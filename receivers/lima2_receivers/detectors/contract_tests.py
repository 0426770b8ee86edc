"""The tests that every detector plugin must pass.

Derive from `DetectorContract` in a test module, with a name that pytest collects, and give ``plugin`` and
``parameters``::

    class TestMyDetector(DetectorContract):
        plugin = PLUGIN

        def parameters(self, **acq):
            return MyParameters(acq=acq)

A plugin that needs a wire to receive from starts it in ``rig``.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, ClassVar

from lima2_bliss.contract import FrameFlags, Lima2Error, ParameterError, RoundRobin, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters, parse
from lima2_receivers.detectors.rig import DetectorRig
from lima2_receivers.engine.plugin import DetectorPlugin, ReceiverSetup


def new_uuid() -> str:
    """The name of an acquisition that there never was."""
    return str(uuid.uuid1())


class DetectorContract:
    """What the engine relies on. Each test says in its name what a detector does."""

    plugin: ClassVar[DetectorPlugin]
    #: Longest time that a stop may take [s].
    stop_within_s: ClassVar[float] = 1.5

    def parameters(self, **acq: Any) -> AcquisitionParameters:
        """Parameters of fast, small frames with these values of ``acq``."""
        return self.plugin.parameters.model_validate({"acq": acq})

    def rig(self, receivers: int) -> DetectorRig:
        """A detector with this many receivers."""
        return DetectorRig(self.plugin, receivers)

    # --- parameters ---------------------------------------------------------------------------------------------

    def test_every_parameter_has_a_default_and_none_is_null(self) -> None:
        assert "null" not in self.plugin.parameters().model_dump_json()

    def test_parameters_come_back_from_json_unchanged(self) -> None:
        given = self.parameters(nb_frames=3)
        assert parse(self.plugin.parameters, given.model_dump_json(), "parameters") == given

    def test_an_unknown_parameter_is_refused_by_name(self) -> None:
        error = _raised(lambda: parse(self.plugin.parameters, {"det": {"no_such_key": 1}}, "parameters"))
        assert isinstance(error, ParameterError)
        assert "no_such_key" in str(error)

    # --- description --------------------------------------------------------------------------------------------

    def test_info_status_and_capabilities_are_json_without_nulls(self) -> None:
        with self.rig(1) as rig:
            info, status, capabilities = rig.control.info(), rig.control.status(), rig.control.capabilities()
            assert "null" not in json.dumps([info, status, capabilities])
            assert info["plugin"] == self.plugin.name
            assert {"model", "sn", "pixel_size", "dimensions"} <= set(info)
            assert 0 < info["pixel_size"]["x"] < 0.01
            assert isinstance(status["state"], str)
            assert "internal" in capabilities["trigger_modes"]
            for name in ("expo_time_range", "latency_time_range", "nb_frames_per_trigger_range"):
                low, high = capabilities[name]
                assert 0 <= low < high

    def test_endpoints_are_plain_text_and_stay(self) -> None:
        with self.rig(2) as rig:
            first = [source.endpoints() for source in rig.sources]
            assert json.loads(json.dumps(first)) == first
            assert first == [source.endpoints() for source in rig.sources]

    def test_frame_info_is_known_before_prepare(self) -> None:
        with self.rig(1) as rig:
            parameters = self.parameters(nb_frames=1, expo_time=1000)
            info = rig.sources[0].frame_info(parameters)
            assert info == rig.sources[0].prepare(ReceiverSetup(new_uuid(), parameters, 0, RoundRobin()))
            assert info.nbytes > 0

    # --- frames -------------------------------------------------------------------------------------------------

    def test_each_frame_comes_once_and_in_order_to_the_receiver_that_it_belongs_to(self) -> None:
        for receivers in (1, 2, 3):
            for block in (1, 4):
                with self.rig(receivers) as rig:
                    rig.run(new_uuid(), self.parameters(nb_frames=17, expo_time=1000), block=block)
                    assert not rig.errors
                    assert rig.indices == list(range(17))
                    dispatch = RoundRobin(receivers, block)
                    for rank, sink in enumerate(rig.sinks):
                        locals_here = range(dispatch.count(rank, 17))
                        assert sink.indices == [dispatch.global_index(rank, local) for local in locals_here]
                        assert [meta.local for meta in sink.metas] == list(locals_here)
                    assert rig.control.nb_frames_acquired == 17
                    assert rig.control.finished

    def test_control_and_receivers_may_start_in_any_order(self) -> None:
        with self.rig(2) as rig:
            for control_first in (False, True):
                rig.prepare(new_uuid(), self.parameters(nb_frames=6, expo_time=1000))
                rig.start(control_first)
                rig.join()
                assert rig.indices == list(range(6))

    def test_a_frame_carries_the_time_when_it_came(self) -> None:
        with self.rig(1) as rig:
            before_ns = time.time_ns()
            rig.run(new_uuid(), self.parameters(nb_frames=5, expo_time=10_000))
            times_ns = [meta.timestamp_ns for meta in rig.sinks[0].metas]
            assert times_ns == sorted(times_ns)
            assert before_ns + 50_000_000 <= times_ns[-1] <= time.time_ns()

    def test_a_full_ring_loses_frames_visibly_and_keeps_their_places(self) -> None:
        with self.rig(1) as rig:
            rig.prepare(new_uuid(), self.parameters(nb_frames=10, expo_time=1000), nb_buffers=1)
            held = rig.sinks[0].reserve()
            assert held is not None
            rig.start()
            rig.join()
            assert rig.sinks[0].indices == list(range(10))
            assert all(meta.flags == FrameFlags.LOST | FrameFlags.OVERRUN for meta in rig.sinks[0].metas)
            held.release()

    # --- stop, reset, again -------------------------------------------------------------------------------------

    def test_a_stop_ends_all_receivers_at_the_same_cut(self) -> None:
        for delay_s in (0.0, 0.013, 0.057):
            with self.rig(3) as rig:
                rig.prepare(new_uuid(), self.parameters(nb_frames=0, expo_time=1000))
                rig.start()
                rig.sinks[0].wait(1 + int(delay_s * 300))
                stopped_s = time.monotonic()
                rig.stop()
                rig.join()
                assert time.monotonic() - stopped_s < self.stop_within_s
                assert rig.indices == list(range(len(rig.indices)))
                assert rig.control.finished
                assert rig.control.nb_frames_acquired == len(rig.indices)

    def test_a_stop_before_the_start_gives_no_frames(self) -> None:
        with self.rig(2) as rig:
            rig.prepare(new_uuid(), self.parameters(nb_frames=5, expo_time=1000))
            rig.start_sources()
            rig.stop()
            rig.join(self.stop_within_s)
            assert rig.indices == []

    def test_after_stop_and_reset_the_next_acquisition_is_whole(self) -> None:
        with self.rig(2) as rig:
            rig.prepare(new_uuid(), self.parameters(nb_frames=0, expo_time=1000))
            rig.start()
            rig.sinks[1].wait(2)
            for source in rig.sources:
                source.stop()
            rig.control.reset()
            rig.join()
            rig.control.reset()
            rig.run(new_uuid(), self.parameters(nb_frames=8, expo_time=1000))
            assert rig.indices == list(range(8))

    def test_prepare_may_be_repeated_before_the_start(self) -> None:
        with self.rig(2) as rig:
            rig.prepare(new_uuid(), self.parameters(nb_frames=9, expo_time=1000))
            rig.prepare(new_uuid(), self.parameters(nb_frames=4, expo_time=1000))
            rig.start()
            rig.join()
            assert rig.indices == list(range(4))

    def test_calls_in_the_wrong_state_are_refused_clearly(self) -> None:
        with self.rig(1) as rig:
            assert isinstance(_raised(rig.control.start), StateError)
            assert isinstance(_raised(rig.control.trigger), StateError)
            rig.prepare(new_uuid(), self.parameters(nb_frames=1, expo_time=1000, trigger_mode="internal"))
            rig.start()
            assert isinstance(_raised(rig.control.trigger), StateError)
            rig.join()

    def test_stop_reset_and_close_are_harmless_at_any_time(self) -> None:
        rig = self.rig(1)
        rig.control.stop()
        rig.control.reset()
        rig.sources[0].stop()
        rig.close()
        rig.control.close()
        rig.sources[0].close()


def _raised(call: Any) -> Lima2Error | None:
    try:
        call()
    except Lima2Error as error:
        return error
    return None
