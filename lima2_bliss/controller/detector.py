"""The detector object of a BLISS session."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from bliss import global_map
from bliss.common.protocols import HasMetadataForScanExclusive, counter_namespace
from bliss.common.utils import autocomplete_property
from bliss.controllers.counter import CounterController

from lima2_bliss.client import Acquisition
from lima2_bliss.contract import AcqState, Lima2Error, ParameterError, SystemState
from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster
from lima2_bliss.controller.compatibility import TextSetting
from lima2_bliss.controller.configuration import Configuration, configuration
from lima2_bliss.controller.connection import Connection, detector_shape
from lima2_bliss.controller.continuous_scan import TakeRequest, continuous_scan
from lima2_bliss.controller.counters import check_free, counter_groups, make_counters
from lima2_bliss.controller.detector_settings import DetectorSettings, deep_merged
from lima2_bliss.controller.metadata import detector_metadata
from lima2_bliss.controller.parameters import (
    DetectorState,
    acquisition_parameters,
    check_capabilities,
    check_image,
    processing_parameters,
)
from lima2_bliss.controller.report import detector_report
from lima2_bliss.controller.rois import RoiCounters, RoiProfiles
from lima2_bliss.controller.scan_request import ScanRequest, scan_request
from lima2_bliss.controller.scan_run import Outcome
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.publishing.publisher_client import PublisherClient

_log = logging.getLogger(__name__)

#: Detector objects of this process by control device.
_in_use: weakref.WeakValueDictionary[str, Lima2Detector] = weakref.WeakValueDictionary()


#: What scans call; not shown when the shell completes.
_PLUMBING = frozenset(
    {"DEVICE_TYPE", "abandon", "apply_parameters", "create_chain_node", "create_counter", "get_acquisition_object"}
    | {"get_current_parameters", "get_default_chain_parameters", "note_failure", "prepare_acquisition", "publisher"}
    | {"disable_scan_metadata", "enable_scan_metadata", "remember", "scan_metadata", "scan_metadata_enabled"}
    | {"fullname", "last_outcome", "scan_metadata_name", "settings_now"}
)


class Lima2Detector(CounterController, HasMetadataForScanExclusive):
    """A 2D detector of one control and N receivers, as one object of a session.

    Settings are in `acquisition`, `image`, `processing`, `saving` and `detector`, regions in `roi_counters` and
    `roi_profiles`; all are kept over sessions. Type the object's name to see its state.
    """

    DEVICE_TYPE = "lima"

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._configuration: Configuration = configuration(config)
        name = self._configuration.name
        other = _in_use.get(self._configuration.control)
        if other is not None and other.name != name:
            raise ParameterError(
                f"detectors {other.name!r} and {name!r} have the same control {self._configuration.control};"
                " a detector can be only one object of the session"
            )
        super().__init__(name)
        global_map.register(self, parents_list=["controllers"])
        self._connection = Connection(
            self._configuration.control,
            self._configuration.receivers,
            self._configuration.access,
            self._configuration.publisher,
        )
        self._publisher = PublisherClient(self._configuration.publisher)
        self._outcome = Outcome()
        self._last: Acquisition | None = None
        defaults = self._configuration.defaults
        self._acquisition = SettingsSection(
            f"{name}.acquisition", AcquisitionSettings, defaults.acquisition, self._store("acquisition")
        )
        self._detector = DetectorSettings(
            f"{name}.detector",
            defaults.detector,
            self._store("detector"),
            self._connection.detector_defaults,
            self._check_detector,
        )
        self._image = SettingsSection(
            f"{name}.image", ImageSettings, defaults.image, self._store("image"), self._check_image
        )
        self._processing = SettingsSection(
            f"{name}.processing", ProcessingSettings, defaults.processing, self._store("processing")
        )
        self._saving = SettingsSection(f"{name}.saving", SavingSettings, defaults.saving, self._store("saving"))
        self._roi_counters = RoiCounters(
            f"{name}.roi_counters",
            self._store("rois"),
            self.image_shape,
            lambda new: self._check_name(new, is_profile=False),
            self._update_counters,
        )
        self._roi_profiles = RoiProfiles(
            f"{name}.roi_profiles",
            self._store("profiles"),
            self.image_shape,
            lambda new: self._check_name(new, is_profile=True),
            self._update_counters,
        )
        self._update_counters()
        _in_use[self._configuration.control] = self

    def _store(self, section: str) -> TextSetting:
        return TextSetting(f"lima2:{self.name}:{section}")

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
        return [name for name in super().__dir__() if name not in _PLUMBING]

    # --- settings -------------------------------------------------------------------------------------------------

    @autocomplete_property
    def acquisition(self) -> SettingsSection:
        """Latency time, trigger and images per point of step scans."""
        return self._acquisition

    @autocomplete_property
    def image(self) -> SettingsSection:
        """Binning, ROI, flip and rotation of the image."""
        return self._image

    @autocomplete_property
    def processing(self) -> SettingsSection:
        """Accumulation, mask, background, flat field, buffers."""
        return self._processing

    @autocomplete_property
    def saving(self) -> SettingsSection:
        """Compression and size of the image files."""
        return self._saving

    @autocomplete_property
    def detector(self) -> DetectorSettings:
        """Settings that only this kind of detector has."""
        return self._detector

    @autocomplete_property
    def roi_counters(self) -> RoiCounters:
        """Regions whose statistics are counters."""
        return self._roi_counters

    @autocomplete_property
    def roi_profiles(self) -> RoiProfiles:
        """Regions whose profiles are counters."""
        return self._roi_profiles

    def reset_settings(self) -> None:
        """All settings back to those of the configuration file; ROIs stay."""
        for section in (self._acquisition, self._image, self._processing, self._saving, self._detector):
            section.reset()

    def settings_now(self) -> DetectorState:
        """All settings at this moment."""
        return DetectorState(
            acquisition=AcquisitionSettings.model_validate(self._acquisition.to_dict()),
            image=ImageSettings.model_validate(self._image.to_dict()),
            processing=ProcessingSettings.model_validate(self._processing.to_dict()),
            saving=SavingSettings.model_validate(self._saving.to_dict()),
            detector=self._detector.overrides(),
            rois=dict(self._roi_counters.items()),
            profiles=dict(self._roi_profiles.items()),
        )

    def detector_shape(self) -> tuple[int, int] | None:
        """(height, width) of the raw frames; None when it is not known before a scan."""
        parameters = deep_merged(self._connection.defaults_if_known(), self._detector.overrides())
        return detector_shape(parameters, self._connection.info_if_known())

    def image_shape(self) -> tuple[int, int] | None:
        """(height, width) of the images with the present settings; None when it is not known before a scan."""
        shape = self.detector_shape()
        return None if shape is None else self.settings_now().transform(shape).shape

    def _check_image(self, image: Any) -> None:
        shape = self.detector_shape()
        if shape is not None:
            check_image(image, shape)

    def _check_detector(self, parameters: dict[str, Any]) -> None:
        state = self.settings_now()
        acquisition = acquisition_parameters(state, ScanRequest(1, 0.1, "internal"))
        self._connection.check({**acquisition, "det": parameters}, processing_parameters(state, None).model_dump())

    # --- counters -------------------------------------------------------------------------------------------------

    def _check_name(self, name: str, is_profile: bool) -> None:
        check_free(name, self._roi_counters.keys(), self._roi_profiles.keys(), is_profile)

    def _update_counters(self) -> None:
        known = dict(self._counters)
        self._counters.clear()
        fresh = make_counters(self, dict(self._roi_counters.items()), dict(self._roi_profiles.items()))
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
        """Counters by group: images, rois, profiles, status, preview, one group per ROI, and default."""
        return counter_groups(self._counters, self._roi_counters.keys())

    # --- scans ----------------------------------------------------------------------------------------------------

    def get_default_chain_parameters(self, scan_params: Mapping[str, Any], acq_params: Mapping[str, Any]) -> dict:
        """Parameters of a step scan: ``frames_per_point`` images at each point."""
        settings = self.settings_now().acquisition
        per_point = acq_params.get("acq_frames_per_point", settings.frames_per_point)
        npoints = scan_params.get("npoints", 1)
        return {
            "acq_nb_frames": acq_params.get("acq_nb_frames", npoints * per_point),
            "acq_expo_time": acq_params.get("acq_expo_time", scan_params.get("count_time", 1.0)),
            "acq_trigger_mode": acq_params.get("acq_trigger_mode", settings.step_trigger),
            "acq_frames_per_point": per_point,
            "acq_wait_each_point": acq_params.get("acq_wait_each_point", True),
        }

    def get_acquisition_object(
        self, acq_params: Mapping[str, Any], ctrl_params: Any, parent_acq_params: Mapping[str, Any]
    ) -> Lima2AcquisitionMaster:
        """What takes part in the scan. Everything that can be wrong is found here, before the scan starts."""
        request = scan_request(self.name, acq_params)
        self._check_scan(request)
        return Lima2AcquisitionMaster(self, request, ctrl_params=ctrl_params)

    def _check_scan(self, request: ScanRequest) -> None:
        state = self.settings_now()
        shape = self.detector_shape()
        if shape is not None:
            check_image(state.image, shape)
            image_shape = state.transform(shape).shape
            self._roi_counters.check_inside(image_shape)
            self._roi_profiles.check_inside(image_shape)
        acquisition = acquisition_parameters(state, request)
        check_capabilities(self.name, request, acquisition, self._connection.capabilities())
        self._connection.check(acquisition, processing_parameters(state, None).model_dump(mode="json"))

    def prepare_acquisition(
        self, acquisition: dict[str, Any], processing: dict[str, Any], request: ScanRequest
    ) -> Acquisition:
        """Prepare all devices; after a failure they are repaired first, and the client's warning says so."""
        prepared = self._connection.prepare(acquisition, processing, stepwise=request.trigger == "software")
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

    def scan_metadata(self) -> dict[str, Any]:
        """NXdetector fields for the scan file."""
        return detector_metadata(
            self.settings_now(), self._connection.info_if_known(), self.detector_shape(), self._configuration.metadata
        )

    def take(
        self,
        nb_images: int,
        expo_time: float,
        *counters: Any,
        trigger: str = "internal",
        images_per_trigger: int = 1,
        latency_time: float | None = None,
        save: bool = True,
        run: bool = True,
    ) -> Any:
        """Scan of images at the detector's own rate, ``expo_time`` [s] each; 0 images: until Ctrl-C.

        ``trigger`` "external": each pulse at the detector's input gives ``images_per_trigger`` images; "gate": each
        pulse gives one image, exposed as long as the pulse lasts. ``counters``: only these instead of the detector's
        default ones.
        """
        request = TakeRequest(nb_images, expo_time, trigger, images_per_trigger, latency_time)
        return continuous_scan(self, request, counters, save, run)

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
        self._connection.forget()
        return self._connection.client.recover()

    def reset(self) -> None:
        """Abort whatever the detector does and bring it back to idle."""
        self._connection.forget()
        self._connection.client.reset()

    @property
    def last_acquisition(self) -> Acquisition:
        """The newest acquisition on the receivers: frames and results of it can be read."""
        return self._last if self._last is not None else self._connection.client.acquisition()

    def get_image(self, index: int = -1) -> np.ndarray:
        """Image of the last acquisition by its index, -1 for the newest: (height, width), or with channels in front."""
        frame = self.last_acquisition.frame(index)
        return frame[0] if frame.shape[0] == 1 else frame

    @property
    def last_image(self) -> np.ndarray:
        """The newest image."""
        return self.get_image(-1)
