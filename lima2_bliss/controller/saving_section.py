"""The saving settings, and where the next scan writes."""

from __future__ import annotations

import os

from bliss import current_session

from lima2_bliss.controller.image_files import detector_prefix
from lima2_bliss.controller.settings import SettingsSection


class SavingSection(SettingsSection):
    """`SettingsSection` ``DETECTOR.saving``: where files go is decided by SCAN_SAVING, and shown with the settings."""

    def __info__(self) -> str:
        detector = self._title.partition(".")[0]
        try:
            lines = place_lines(detector, self.enabled)
        except Exception as error:  # noqa: BLE001 - templates of users: whatever is wrong there is told here
            lines = [f"next images: SCAN_SAVING gives no path ({type(error).__name__}: {error})"]
        return "\n".join([super().__info__(), *(f"  {line}" for line in lines)])


def place_lines(detector: str, enabled: bool) -> list[str]:
    """Where the next scan writes the images of a detector, and the scan file; NNNN stands for the scan number."""
    place = current_session.scan_saving if current_session else None
    if place is None:
        return []
    writer = place.writer_object
    if not writer.saving_enabled():
        return [f"next images: not saved, SCAN_SAVING.writer is {place.writer!r}"]
    directory, prefix = os.path.split(writer.get_device_root_path(img_acq_device=detector))
    images = f"{directory}/{detector_prefix(prefix, detector)}_*.h5".replace("{scan_number}", "NNNN")
    return [
        f"next images: {images if enabled else 'not saved, enabled is False'}",
        f"scan file:   {writer.get_filename()} (writer {place.writer})",
    ]
