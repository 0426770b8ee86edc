"""Where the images of a scan go: one set of files per scan and detector."""

from __future__ import annotations

from pathlib import Path

from lima2_bliss.contract import SavingError
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.controller.settings_models import SavingSettings


def detector_prefix(prefix: str, detector: str) -> str:
    """File prefix from SCAN_SAVING's, without a trailing underscore, and always with the detector's name in it."""
    prefix = prefix.rstrip("_")
    if detector in prefix:
        return prefix
    return f"{prefix}_{detector}" if prefix else detector


def make_directory(directory: Path) -> None:
    """Create the directory if it is not there; `SavingError` that says why it cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SavingError(
            f"image directory {directory} cannot be created ({error.strerror}); check SCAN_SAVING.base_path and"
            " its permissions",
            path=directory,
        ) from None


def image_saving(settings: SavingSettings, detector: str, directory: str, prefix: str) -> Saving:
    """Saving parameters for a scan whose images go to ``directory``, as this session sees it; creates it.

    With the policy ``append`` the receivers add a number to the prefix when files of that name exist.
    """
    path = Path(directory)
    make_directory(path)
    return Saving(
        enabled=True,
        base_path=str(path),
        filename_prefix=detector_prefix(prefix, detector),
        file_exists_policy=settings.file_exists_policy,
        nb_frames_per_file=settings.frames_per_file,
        compression=settings.compression,
        nx_detector_name=detector,
    )
