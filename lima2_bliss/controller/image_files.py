"""Where the images of a scan go: one set of files per scan and detector."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from bliss.common.os_utils import makedirs

from lima2_bliss.contract import ParameterError, SavingError
from lima2_bliss.contract.parameters import Saving
from lima2_bliss.controller.settings_models import SavingSettings

#: Space that the HDF5 writer of BLISS wants on the disk of a scan file [MB].
WRITER_MEGABYTES = 200


def detector_prefix(prefix: str, detector: str) -> str:
    """File prefix from SCAN_SAVING's, without a trailing underscore, and always with the detector's name in it.

    A name inside a longer word does not count: with the prefix ``run_sim11`` detector sim1 has files of its own.
    """
    prefix = prefix.rstrip("_")
    if re.search(rf"(?<![A-Za-z0-9]){re.escape(detector)}(?![A-Za-z0-9])", prefix):
        return prefix
    return f"{prefix}_{detector}" if prefix else detector


def check_path(path: Path) -> None:
    """`ParameterError` when image files cannot have this path: a ``%`` is a frame number to those who read them."""
    if "%" in str(path):
        raise ParameterError(
            f"image files {path}...: '%' is not possible in the name of an image file or its directory; change"
            " SCAN_SAVING (base_path, template, images_path_template or images_prefix)"
        )


def check_directory(directory: Path, ask_permission: bool = True) -> None:
    """`SavingError` when a directory, that may have to be created, is certain to be impossible.

    ``ask_permission`` False: another process creates it, whose permissions are not known here.
    """
    there = next(place for place in (directory, *directory.parents) if place.exists())
    if not there.is_dir():
        raise _impossible(directory, f"{there} is a file", there)
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        raise _impossible(directory, f"the file system of {there} is read-only", there)
    if ask_permission and not os.access(there, os.W_OK | os.X_OK):
        raise _impossible(directory, f"{there} is not writable", there)


def check_space(file: Path) -> None:
    """`SavingError` when the writer of BLISS would refuse to begin a scan file, for want of space."""
    there = next(place for place in file.parents if place.exists())
    free = shutil.disk_usage(there).free >> 20
    if free < WRITER_MEGABYTES:
        raise SavingError(
            f"the disk of scan file {file} has {free} MB free, {WRITER_MEGABYTES} MB are needed; free space on it or"
            " change SCAN_SAVING.base_path",
            path=there,
        )


def _impossible(directory: Path, why: str, path: Path) -> SavingError:
    return SavingError(
        f"directory {directory} of the scan's files cannot be created or written ({why}); check SCAN_SAVING.base_path"
        " and its permissions",
        path=path,
    )


def check_scan_saving(scan: Any, detector: str, saves_images: bool) -> None:
    """What is wrong with the place of a scan's files, before the first of them is created."""
    writer = scan.writer
    if not writer.saving_enabled():
        return
    # the external Nexus writer creates the scan's directory, as the user that it runs as
    here = writer.get_name() != "nexus"
    if saves_images and writer.device_saving_enabled():
        images = Path(writer.get_device_root_path(img_acq_device=detector))
        check_path(images)
        check_directory(images.parent, here)
    file = Path(writer.get_filename())
    check_directory(file.parent, here)
    # the external writer may be content with less; the receivers are not
    if here or saves_images:
        check_space(file)


def make_directory(directory: Path) -> None:
    """Create the directory if it is not there; `SavingError` that says why it cannot be."""
    try:
        makedirs(str(directory))
    except OSError as error:
        raise _impossible(directory, error.strerror or str(error), directory) from None


def image_saving(settings: SavingSettings, detector: str, directory: str, prefix: str) -> Saving:
    """Saving parameters for a scan whose images go to ``directory``, as this session sees it; creates it.

    With the policy ``append`` the receivers add a number to the prefix when files of that name exist.
    """
    path = Path(directory)
    file_prefix = detector_prefix(prefix, detector)
    check_path(path / file_prefix)
    make_directory(path)
    return Saving(
        enabled=True,
        base_path=str(path),
        filename_prefix=file_prefix,
        file_exists_policy=settings.file_exists_policy,
        nb_frames_per_file=settings.frames_per_file,
        compression=settings.compression,
        nx_detector_name=detector,
    )
