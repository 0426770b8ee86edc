"""A scan in which the detector sets the pace: images one after another at its own rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bliss import is_bliss_shell
from bliss.scanning.chain import AcquisitionChain
from bliss.scanning.scan import Scan
from bliss.scanning.scan_info import ScanInfo
from bliss.scanning.scan_progress import ScanProgress
from bliss.scanning.toolbox import ChainBuilder

from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector


class ImagesProgress(ScanProgress):
    """Shows in the shell how many images were taken."""

    USE_TEXTBLOCK = True

    def scan_new_callback(self) -> None:
        print(f"INFO: starting {self._scan}")  # noqa: T201 - as BLISS's own scans do

    def build_progress_message(self) -> str:
        """One line: state and images."""
        parts = [f"{self.scan_type}: {self.scan_state.name}"]
        for master in self.acq_objects:
            if isinstance(master, Lima2AcquisitionMaster):
                wanted: Any = master.request.nb_images or "until stopped"
                parts.append(f"{master.name} images {master.images_processed}/{wanted}")
        return "  ".join(parts)


def continuous_scan(
    detector: Lima2Detector,
    nb_images: int,
    expo_time: float,
    counters: tuple[Any, ...] = (),
    latency_time: float | None = None,
    save: bool = True,
    run: bool = True,
) -> Scan:
    """A scan of ``nb_images`` images of ``expo_time`` [s] each; 0 images: until it is stopped."""
    chain = AcquisitionChain()
    parameters: dict[str, Any] = {
        "acq_nb_frames": nb_images,
        "acq_expo_time": expo_time,
        "acq_trigger_mode": "internal",
        "latency_time": latency_time,
    }
    builder = ChainBuilder(counters or (detector,))
    for node in builder.get_top_level_nodes():
        node.set_parameters(acq_params=dict(parameters))
        chain.add(node)
    info = ScanInfo()
    info.update({"type": "take", "save": save, "npoints": nb_images, "count_time": expo_time})
    info["title"] = f"{detector.name}.take({nb_images}, {expo_time:g})"
    progress = ImagesProgress() if is_bliss_shell() else None
    scan = Scan(chain, name="take", scan_info=info, save=save, scan_progress=progress)
    if run:
        scan.run()
    return scan
