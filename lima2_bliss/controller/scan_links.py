"""Links from the scan file to the detector's own files, given to the writer of the scan file as metadata.

The writer, in this process or in another one, makes them itself when it completes the scan: nobody else opens its file.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lima2_bliss.client import ACC_CORRECTED, ACC_PEAKS, FRAME, RAW_FRAME, SPARSE_FRAME
from lima2_bliss.client.sources import enabled_savings
from lima2_bliss.contract import FileLayout
from lima2_bliss.controller.compatibility import ScanFile
from lima2_bliss.controller.scan_run import ScanRun

_log = logging.getLogger(__name__)

#: Names of all links that there can be; ``data`` is the writer's, to the images.
LINK_NAMES = frozenset(
    {"frame_flags", "frame_index", "timestamp", "hits", "sparse_frames", "peaks", "mean_images", "peak_images"}
    | {"raw_frames", "all_images", "data"}
)
#: The images where the writer has none; it makes no link over its own.
IMAGES = "data"
#: Names of links whose group is more than its frames: what the `measurement` group shows of it.
_FRAMES_IN = {"raw_frames": "raw_frames/data"}


def linked_places(source: str, layout: FileLayout, finds_hits: bool) -> dict[str, str]:
    """What is linked from the master file of a frame source: name in the scan file, HDF5 path in the master.

    ``finds_hits``: the pipeline looks for them, so that the master of the images has them alone too.
    """
    records = {
        "frame_flags": layout.flags_path,
        "frame_index": layout.index_path,
        "timestamp": f"{layout.detector_path}/timestamp",
    }
    if source == SPARSE_FRAME:
        return {"sparse_frames": layout.sparse_path, "peaks": layout.peaks_path, **records}
    return {
        FRAME: {**records, "hits": layout.hits_path} if finds_hits else {**records},
        RAW_FRAME: {"raw_frames": layout.detector_path},
        ACC_CORRECTED: {"mean_images": layout.data_path},
        ACC_PEAKS: {"peak_images": layout.data_path},
    }.get(source, {})


def file_links(
    files: Mapping[str, Path],
    processing: Mapping[str, Any],
    scan_file: Path,
    complete: bool = True,
    images: str = "all_images",
) -> dict[str, str]:
    """Name of each link and where it leads: ``file::/path``, the file relative to ``scan_file`` if it lies below it.

    ``files`` are the master files by frame source, ``processing`` the parameters of their acquisition. The records of
    frames (flags, index, time) are those of the images, if they are saved, else those of the sparse frames. Not
    ``complete``: the scan ends before all images are written, so that `image` in its file may not have the last ones;
    ``images`` leads to all of them.
    """
    savings = enabled_savings(processing)
    finds_hits = "saving_sparse" in processing
    links: dict[str, str] = {}
    for source in sorted(files, key=lambda source: source == FRAME):
        name = _name_from(scan_file, files[source])
        layout = savings[source].layout()
        places = linked_places(source, layout, finds_hits)
        if source == FRAME and not complete:
            places[images] = layout.data_path
        links |= {link: f"{name}::{place}" for link, place in places.items()}
    return links


def _name_from(scan_file: Path, path: Path) -> str:
    """Relative below the directory of the scan file, so that it can be moved as a whole; else absolute."""
    try:
        return str(path.relative_to(scan_file.parent))
    except ValueError:
        return str(path)


def beside_counters(metadata: Mapping[str, Any], channels: Collection[str], detector: str) -> dict[str, Any]:
    """Metadata without what has the name of a counter: the writer would put it over the counter's values.

    ``channels`` are ``detector:name``. Links stay: the writer makes none where something has its name.
    """
    counters = {channel.partition(":")[2] for channel in channels}
    taken = {key for key in metadata if key.partition("@")[0] in counters}
    if taken:
        _log.warning(
            "%s: metadata %s is not in the scan file, where a counter has this name; rename that ROI or profile",
            detector,
            ", ".join(sorted(key for key in taken if "@" not in key)),
        )
    return {key: value for key, value in metadata.items() if key not in taken}


class ScanLinks:
    """The links of one detector in the file of one scan."""

    def __init__(self, scan: Any, detector: str) -> None:
        self._file = ScanFile(scan)
        self._detector = detector

    def keep_together(self, channels: list[str]) -> None:
        """Have the writer put channels that are no counters into the detector's group, instead of one for each."""
        for channel in channels:
            self._file.put_in_detector_group(f"{self._detector}:{channel}")

    def of(self, run: ScanRun) -> dict[str, str]:
        """Metadata of the detector that makes the links; adds those of the `measurement` group to the scan.

        Never raises: what cannot be linked is a warning that says where the files are.
        """
        files, processing = run.files, run.acquisition.processing_parameters
        if not files:
            return {}
        try:
            # the writer was not told of images that are still being saved: it leaves their place to a link
            images = IMAGES if run.outcome.pending else "all_images"
            links = file_links(files, processing, self._file.path(), bool(run.outcome.files), images)
            group = self._file.detector_group(self._detector)
            shown = {
                f">{self._detector}" + ("" if name == IMAGES else f"_{name}"): f"{group}/{_FRAMES_IN.get(name, name)}"
                for name in links
            }
            self._file.add_to_measurement(shown)
        except Exception as error:  # noqa: BLE001 - the scan's data is complete without them
            where = ", ".join(str(path) for path in files.values())
            _log.warning("%s: the scan file has no links to %s: %s", self._detector, where, error)
            return {}
        return {f">{name}": target for name, target in links.items()}
