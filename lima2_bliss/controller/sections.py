"""All settings of a detector: their sections and regions, kept over sessions, and checked as a whole before a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import LegacyParameters
from lima2_bliss.contract.roi_geometry import ImageView
from lima2_bliss.controller.accumulation import with_depth
from lima2_bliss.controller.compatibility import TextSetting
from lima2_bliss.controller.configuration import Defaults
from lima2_bliss.controller.connection import Connection, detector_shape
from lima2_bliss.controller.counters import check_free
from lima2_bliss.controller.detector_settings import DetectorSettings, deep_merged, flatten
from lima2_bliss.controller.parameters import (
    DetectorState,
    acquisition_parameters,
    check_capabilities,
    check_image,
    check_pipeline,
    processing_parameters,
    trial_parameters,
)
from lima2_bliss.controller.roi_definitions import view_of
from lima2_bliss.controller.rois import RoiCounters, RoiProfiles
from lima2_bliss.controller.saving_section import SavingSection
from lima2_bliss.controller.scan_request import ScanRequest
from lima2_bliss.controller.settings import SettingsSection
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ImageSettings,
    ProcessingSettings,
    SavingSettings,
)
from lima2_bliss.controller.smx_settings import SmxSettings


def _unchanged(state: DetectorState) -> DetectorState:
    return state


class Sections:
    """The settings of detector ``name``; ``on_counters`` is called when a change may give it other counters."""

    def __init__(self, name: str, defaults: Defaults, connection: Connection, on_counters: Callable[[], None]) -> None:
        self._name = name
        self._connection = connection
        self._on_counters = on_counters
        self._regions_held = False
        self._change: Callable[[DetectorState], DetectorState] = _unchanged

        def store(section: str) -> TextSetting:
            return TextSetting(f"lima2:{name}:{section}")

        self.acquisition = SettingsSection(
            f"{name}.acquisition", AcquisitionSettings, defaults.acquisition, store("acquisition")
        )
        self.detector = DetectorSettings(
            f"{name}.detector",
            defaults.detector,
            store("detector"),
            connection.detector_defaults,
            self._check_detector,
            self._regions_moved,
        )
        self.image = SettingsSection(
            f"{name}.image", ImageSettings, defaults.image, store("image"), self._check_image, self._regions_moved
        )
        self.processing = SettingsSection(
            f"{name}.processing",
            ProcessingSettings,
            defaults.processing,
            store("processing"),
            on_change=on_counters,
        )
        self.smx = SettingsSection(f"{name}.smx", SmxSettings, defaults.smx, store("smx"), on_change=on_counters)
        self.saving = SavingSection(f"{name}.saving", SavingSettings, defaults.saving, store("saving"))
        self.roi_counters = RoiCounters(
            f"{name}.roi_counters",
            store("rois"),
            self._view,
            lambda new: self._check_name(new, is_profile=False),
            self._regions_moved,
        )
        self.roi_profiles = RoiProfiles(
            f"{name}.roi_profiles",
            store("profiles"),
            self._view,
            lambda new: self._check_name(new, is_profile=True),
            self._regions_moved,
        )

    def reset(self) -> None:
        """All settings back to those of the configuration file; ROIs stay."""
        for section in (self.acquisition, self.image, self.processing, self.smx, self.saving, self.detector):
            section.reset()

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """All present values by section; of the detector's own those that differ from its defaults."""
        return {
            "acquisition": self.acquisition.to_dict(),
            "image": self.image.to_dict(),
            "processing": self.processing.to_dict(),
            "smx": self.smx.to_dict(),
            "saving": self.saving.to_dict(),
            "detector": dict(flatten(self.detector.overrides())),
            "roi_counters": self.roi_counters.to_dict(),
            "roi_profiles": self.roi_profiles.to_dict(),
        }

    def plan(self, snapshot: Mapping[str, Mapping[str, Any]]) -> Callable[[], None]:
        """Check values as `snapshot` gives them, all together; calling the result makes them the present ones.

        What they need beyond that (the geometry of smx, ...) is checked by the next scan, as ever.
        """
        present = self.snapshot()
        values: dict[str, Mapping[str, Any]] = {**{section: {} for section in present}, **snapshot}
        unknown = [section for section in snapshot if section not in present]
        if unknown:
            raise ParameterError(f"{self._name}: there are no settings {', '.join(unknown)}")
        detector = self.detector.plan(values["detector"])
        plans = {
            name: getattr(self, name).plan(values[name])
            for name in ("acquisition", "image", "processing", "smx", "saving")
        }
        view = view_of(plans["image"].values, self._raw_shape(detector.values))
        plans |= {name: getattr(self, name).plan(values[name], view) for name in ("roi_counters", "roi_profiles")}
        state = DetectorState(
            acquisition=plans["acquisition"].values,
            image=plans["image"].values,
            processing=plans["processing"].values,
            saving=plans["saving"].values,
            smx=plans["smx"].values,
            detector=detector.values,
            rois=plans["roi_counters"].values,
            profiles=plans["roi_profiles"].values,
        )
        if state.detector != self.detector.overrides():
            self._check_with_devices(state)
        self._check_geometry(state)

        def put() -> None:
            with self._regions_unmoved():
                for plan in (detector, *plans.values()):
                    plan.put()
            self._regions_moved()

        return put

    def _check_geometry(self, state: DetectorState) -> None:
        shape = self._raw_shape(state.detector)
        if shape is not None:
            check_image(state.image, shape)

    def _view(self) -> ImageView:
        image = ImageSettings.model_validate(self.image.to_dict())
        return view_of(image, self._raw_shape(self.detector.overrides()))

    def _regions_moved(self) -> None:
        """Regions, or the images that they are on, have changed."""
        if not self._regions_held:
            for table in (self.roi_counters, self.roi_profiles):
                table.follow()
            self._on_counters()

    @contextmanager
    def _regions_unmoved(self) -> Iterator[None]:
        """Within, several settings change before it matters where regions are."""
        self._regions_held = True
        try:
            yield
        finally:
            self._regions_held = False

    def now(self) -> DetectorState:
        """All settings at this moment."""
        return self._change(self._as_set())

    @contextmanager
    def changed(self, change: Callable[[DetectorState], DetectorState]) -> Iterator[None]:
        """Within, scans see settings that ``change`` made of those of the user, which stay as they are."""
        before, self._change = self._change, change
        try:
            yield
        finally:
            self._change = before

    def _as_set(self) -> DetectorState:
        return DetectorState(
            acquisition=AcquisitionSettings.model_validate(self.acquisition.to_dict()),
            image=ImageSettings.model_validate(self.image.to_dict()),
            processing=ProcessingSettings.model_validate(self.processing.to_dict()),
            saving=SavingSettings.model_validate(self.saving.to_dict()),
            smx=SmxSettings.model_validate(self.smx.to_dict()),
            detector=self.detector.overrides(),
            rois=self.roi_counters.active(),
            profiles=self.roi_profiles.active(),
        )

    def detector_shape(self) -> tuple[int, int] | None:
        """(height, width) of the raw frames; None when it is not known before a scan."""
        return self._raw_shape(self.now().detector)

    def _raw_shape(self, detector: Mapping[str, Any]) -> tuple[int, int] | None:
        parameters = deep_merged(self._connection.defaults_if_known(), detector)
        return self._connection.shape(parameters) or detector_shape(parameters, self._connection.info_if_known())

    def image_shape(self) -> tuple[int, int] | None:
        """(height, width) of the images with the present settings; None when it is not known before a scan."""
        shape = self.detector_shape()
        return None if shape is None else self.now().transform(shape).shape

    def check_scan(self, request: ScanRequest) -> None:
        """All that can be known before a scan: settings against each other, and against what the devices accept."""
        moved = [table.follow() for table in (self.roi_counters, self.roi_profiles)]
        if any(moved):
            self._on_counters()
        state = self.now()
        check_pipeline(self._name, state)
        self._check_geometry(state)
        state = with_depth(state, request)
        acquisition = acquisition_parameters(state, request)
        check_capabilities(self._name, request, acquisition, self._connection.capabilities())
        self._connection.check(acquisition, trial_parameters(state).model_dump(mode="json"))

    def _check_image(self, image: Any) -> None:
        shape = self.detector_shape()
        if shape is not None:
            check_image(image, shape)

    def _check_detector(self, parameters: dict[str, Any]) -> None:
        self._check_with_devices(replace(self.now(), detector=parameters))

    def _check_with_devices(self, state: DetectorState) -> None:
        # a geometry of smx is for one size of the detector: it may be set before or after that
        smx = state.processing.pipeline == "smx"
        processing = LegacyParameters() if smx else processing_parameters(state, None)
        acquisition = acquisition_parameters(state, ScanRequest(1, 0.1, "internal"))
        self._connection.check({**acquisition, "det": dict(state.detector)}, processing.model_dump(mode="json"))

    def _check_name(self, name: str, is_profile: bool) -> None:
        check_free(name, self.roi_counters.keys(), self.roi_profiles.keys(), is_profile)
