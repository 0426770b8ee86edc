"""The detector object of a BLISS session."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bliss import global_map
from bliss.common.protocols import counter_namespace
from bliss.common.utils import autocomplete_property
from bliss.controllers.counter import CounterController

from lima2_bliss.client import Acquisition
from lima2_bliss.contract import AcqState, Lima2Error, ParameterError, StateError, SystemState
from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster
from lima2_bliss.controller.configuration import configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.counters import counter_groups, make_counters
from lima2_bliss.controller.described_detector import DescribedDetector
from lima2_bliss.controller.detector_scans import DetectorScans
from lima2_bliss.controller.detector_settings import DetectorSettings
from lima2_bliss.controller.displays import Displays, as_image
from lima2_bliss.controller.outcome import Outcome
from lima2_bliss.controller.parameters import DetectorState
from lima2_bliss.controller.plumbing import PLUMBING
from lima2_bliss.controller.report import detector_report
from lima2_bliss.controller.roi_editing import RoiViews
from lima2_bliss.controller.scan_request import ScanRequest, scan_request, step_parameters
from lima2_bliss.controller.sections import Sections
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.shell_views import ShellViews
from lima2_bliss.controller.tuning import tune
from lima2_bliss.publishing.publisher_client import PublisherClient

_log = logging.getLogger(__name__)

#: Detector objects of this process by control device.
_in_use: weakref.WeakValueDictionary[str, Lima2Detector] = weakref.WeakValueDictionary()


class Lima2Detector(CounterController, DescribedDetector, DetectorScans, Displays, ShellViews, RoiViews):
    """A 2D detector of one control and N receivers, as one object of a session.

    Settings are in `acquisition`, `image`, `processing`, `smx`, `saving` and `detector`, regions in `roi_counters` and
    `roi_profiles`; all are kept over sessions, and under names in `settings`. Its processes are in `topology` and
    `receivers`, its acquisitions in `pipelines`. Type the object's name to see its state.
    """

    DEVICE_TYPE = "lima"

    def __init__(self, config: Mapping[str, Any]) -> None:
        given = self._configuration = configuration(config)
        name = given.name
        other = _in_use.get(given.control)
        if other is not None and other.name != name:
            raise ParameterError(
                f"detectors {other.name!r} and {name!r} have the same control {given.control};"
                " a detector can be only one object of the session"
            )
        super().__init__(name)
        global_map.register(self, parents_list=["controllers"])
        self._connection = Connection(given.control, given.receivers, given.access, given.publisher)
        self._publisher = PublisherClient(given.publisher)
        self._outcome = Outcome()
        self._last: Acquisition | None = None
        self._sections = Sections(name, given.defaults, self._connection, self._update_counters)
        self._make_views(given, self._connection, self._sections)
        self._make_roi_views()
        self._make_metadata(given)
        self._make_displays(given, self._connection, self._sections)
        self._update_counters()
        _in_use[given.control] = self

    # --- what it is -----------------------------------------------------------------------------------------------

    @property
    def control_name(self) -> str:
        """Device name of the control."""
        return self._configuration.control

    @property
    def receiver_names(self) -> list[str]:
        """Device names of the receivers, in rank order."""
        return list(self._configuration.receivers)

    @property
    def access_name(self) -> str:
        """Device name of the image device, where consumers fetch frames."""
        return self._configuration.access

    @property
    def publisher(self) -> PublisherClient:
        """The process that publishes the results."""
        return self._publisher

    @property
    def state(self) -> SystemState:
        """State of control and receivers as a whole."""
        return self._connection.client.state()

    def device_states(self) -> dict[str, AcqState]:
        """State of control and of each receiver, by device name; OFFLINE for what does not answer."""
        states = self._connection.client.states()
        return dict(zip([self.control_name, *self.receiver_names], [states.control, *states.receivers], strict=True))

    def detector_info(self) -> dict[str, Any]:
        """Plugin, model, serial number, pixel size [m], dimensions [px], as control gives them."""
        return self._connection.info()

    def __info__(self) -> str:
        return detector_report(self)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in PLUMBING]

    # --- settings -------------------------------------------------------------------------------------------------

    @autocomplete_property
    def acquisition(self) -> SettingsSection:
        """Latency time, trigger and images per point of step scans."""
        return self._sections.acquisition

    @autocomplete_property
    def image(self) -> SettingsSection:
        """Binning, ROI, flip and rotation of the image."""
        return self._sections.image

    @autocomplete_property
    def processing(self) -> SettingsSection:
        """The pipeline, its buffers and threads; accumulation, mask, background, flat field of pipeline legacy."""
        return self._sections.processing

    @autocomplete_property
    def smx(self) -> SettingsSection:
        """Background, spots and hits of pipeline smx."""
        return self._sections.smx

    @autocomplete_property
    def saving(self) -> SettingsSection:
        """Compression and size of the image files."""
        return self._sections.saving

    @autocomplete_property
    def detector(self) -> DetectorSettings:
        """Settings that only this kind of detector has."""
        return self._sections.detector

    def reset_settings(self) -> None:
        """All settings back to those of the configuration file; ROIs stay."""
        self._sections.reset()

    def settings_now(self) -> DetectorState:
        """All settings at this moment."""
        return self._sections.now()

    def detector_shape(self) -> tuple[int, int] | None:
        """(height, width) of the raw frames; None when it is not known before a scan."""
        return self._sections.detector_shape()

    def image_shape(self) -> tuple[int, int] | None:
        """(height, width) of the images with the present settings; None when it is not known before a scan."""
        return self._sections.image_shape()

    # --- counters -------------------------------------------------------------------------------------------------

    def _update_counters(self) -> None:
        known = dict(self._counters)
        self._counters.clear()
        fresh = make_counters(self, self._sections.now())
        for name, counter in fresh.items():
            # a counter that is still the same stays the same object: aliases and measurement groups hold on to it
            old = known.get(name)
            self._counters[name] = old if old is not None and old.is_like(counter) else counter

    @autocomplete_property
    def counters(self) -> Any:
        """All counters of the detector."""
        return counter_namespace(self._counters)

    @autocomplete_property
    def counter_groups(self) -> Any:
        """Counters by group, one group per ROI, and the default group of scans."""
        return counter_groups(self._counters, self.roi_counters.active())

    # --- scans ----------------------------------------------------------------------------------------------------

    def get_default_chain_parameters(self, scan_params: Mapping[str, Any], acq_params: Mapping[str, Any]) -> dict:
        """Parameters of a step scan: ``frames_per_point`` images at each point."""
        return step_parameters(self.settings_now().acquisition, scan_params, acq_params)

    def get_acquisition_object(
        self, acq_params: Mapping[str, Any], ctrl_params: Any, parent_acq_params: Mapping[str, Any]
    ) -> Lima2AcquisitionMaster:
        """What takes part in the scan. Everything that can be wrong is found here, before the scan starts."""
        request = scan_request(self.name, acq_params)
        self._sections.check_scan(request)
        return Lima2AcquisitionMaster(self, request, ctrl_params=ctrl_params)

    def prepare_acquisition(
        self, acquisition: dict[str, Any], processing: dict[str, Any], request: ScanRequest
    ) -> Acquisition:
        """Prepare all devices; after a failure they are repaired first, and the client's warning says so."""
        try:
            prepared = self.unsaved_scans.prepare(
                self.settings_now().acquisition.overlap,
                lambda: self._connection.prepare(acquisition, processing, stepwise=request.trigger == "software"),
            )
        except StateError:
            if not self.live.end_elsewhere():
                raise
            prepared = self._connection.prepare(acquisition, processing, stepwise=request.trigger == "software")
        prepared.describe(self._described)
        self._last = prepared
        return prepared

    def abandon(self, acquisition: Acquisition) -> None:
        """Give up an acquisition that was prepared and never started."""
        try:
            self._connection.client.reset()
        except Lima2Error as error:
            _log.warning("%s: acquisition %s could not be given up: %s", self.name, acquisition.uuid, error)

    def remember(self, outcome: Outcome) -> None:
        """Keep what the acquisition of the present scan gives."""
        self._outcome = outcome

    def note_failure(self, error: Exception) -> None:
        """The acquisition of the present scan has failed: what is known of the detector may have changed."""
        _log.info("%s: the acquisition failed: %s", self.name, error)
        self._connection.forget()

    @property
    def last_outcome(self) -> Outcome:
        """What the last acquisition of this session gave."""
        return self._outcome

    def tune(
        self, file: str | Path | None = None, nb_frames: int = 200, timeout_s: float = 600.0, **settings: Any
    ) -> None:
        """Print hits, spots and reduction for other SMX settings, as in ``det.tune(cutoff_peak=[4, 5], min_spots=10)``.

        Frames are those of the last acquisition (at most ``nb_frames``), or of ``file``; nothing is changed.
        """
        print(tune(self, file, nb_frames, settings, timeout_s))  # noqa: T201 - it answers who typed it

    # --- by hand --------------------------------------------------------------------------------------------------

    @property
    def commands(self) -> list[str]:
        """Names of the detector's own commands, for `command`."""
        return self._connection.command_names()

    def command(self, name: str, argument: Any = None) -> Any:
        """Run one of the detector's own commands, as in ``det.command("pulse", {"n": 10, "period_s": 0.1})``."""
        return self._connection.client.command(name, argument)

    def recover(self) -> list[str]:
        """Bring control and receivers back after a failure; sentences that say what was done."""
        self.live.stop()
        self._connection.forget()
        return self._connection.client.recover()

    def reset(self) -> None:
        """Abort whatever the detector does and bring it back to idle."""
        self.live.stop()
        self._connection.forget()
        self._connection.client.reset()

    @property
    def last_acquisition(self) -> Acquisition:
        """The newest acquisition on the receivers: frames and results of it can be read."""
        return self._last if self._last is not None else self._connection.client.acquisition()

    def get_image(self, index: int = -1) -> np.ndarray:
        """Image of the last acquisition by its index, -1 for the newest: (height, width), or with channels in front."""
        return as_image(self.last_acquisition.frame(index))
