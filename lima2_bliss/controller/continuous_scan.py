"""A scan in which the detector sets the pace: images one after another at its own rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bliss import is_bliss_shell
from bliss.scanning.chain import AcquisitionChain
from bliss.scanning.scan import Scan
from bliss.scanning.scan_info import ScanInfo
from bliss.scanning.toolbox import ChainBuilder

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster
from lima2_bliss.controller.progress import ImagesProgress
from lima2_bliss.publishing.smx_streams import HIT_RATE, NB_PEAKS
from lima2_bliss.publishing.streams import FRAME_INDEX

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector


#: Trigger modes in which no trigger comes from the scan.
PACED_BY_HARDWARE = ("internal", "external", "gate")


@dataclass(frozen=True)
class TakeRequest:
    """What is taken: images (0: until stopped) of ``expo_time`` [s], how they are triggered, dead time [s] or None."""

    nb_images: int
    expo_time: float
    trigger: str = "internal"
    images_per_trigger: int = 1
    latency_time: float | None = None

    def title(self, detector: str) -> str:
        """The call as the user typed it."""
        words = [str(self.nb_images), f"{self.expo_time:g}"]
        if self.trigger != "internal":
            words.append(f"trigger={self.trigger!r}")
        if self.images_per_trigger != 1:
            words.append(f"images_per_trigger={self.images_per_trigger}")
        return f"{detector}.take({', '.join(words)})"


def hit_curves(chain: AcquisitionChain) -> list[dict[str, Any]]:
    """What Flint draws at first over the frame index: spots and, on the right, the hit rate; nothing without them."""
    items = []
    for master in chain.nodes_list:
        if isinstance(master, Lima2AcquisitionMaster):
            names = {channel.counter_name: channel.fullname for channel in master.channels}
            sides = ((NB_PEAKS, "left"), (HIT_RATE, "right"))
            if FRAME_INDEX in names:  # without an axis nothing would be drawn
                items += [
                    {"kind": "curve", "x": names[FRAME_INDEX], "y": names[counter], "y_axis": side}
                    for counter, side in sides
                    if counter in names
                ]
    return [{"kind": "curve-plot", "items": items}] if items else []


def continuous_scan(
    detector: Lima2Detector,
    request: TakeRequest,
    counters: tuple[Any, ...] = (),
    save: bool = True,
    run: bool = True,
    name: str = "take",
    title: str = "",
) -> Scan:
    """A scan in which the detector, or what triggers it, sets the pace; ``title`` if it is not the call of `take`."""
    if request.trigger not in PACED_BY_HARDWARE:
        raise ParameterError(
            f"{detector.name}.take: trigger {request.trigger!r} is not possible;"
            f" allowed: {', '.join(PACED_BY_HARDWARE)}"
        )
    if request.trigger == "internal" and request.images_per_trigger != 1:
        raise ParameterError(
            f"{detector.name}.take: images_per_trigger = {request.images_per_trigger} needs trigger='external'"
        )
    chain = AcquisitionChain()
    parameters: dict[str, Any] = {
        "acq_nb_frames": request.nb_images,
        "acq_expo_time": request.expo_time,
        "acq_trigger_mode": request.trigger,
        "acq_frames_per_point": request.images_per_trigger,
        "latency_time": request.latency_time,
    }
    builder = ChainBuilder(counters or (detector,))
    for node in builder.get_top_level_nodes():
        node.set_parameters(acq_params=dict(parameters))
        chain.add(node)
    info = ScanInfo()
    info.update({"type": name, "save": save, "npoints": request.nb_images, "count_time": request.expo_time})
    info["title"] = title or request.title(detector.name)
    if curves := hit_curves(chain):
        info["plots"] = curves
    progress = ImagesProgress() if is_bliss_shell() else None
    scan = Scan(chain, name=name, scan_info=info, save=save, scan_progress=progress)
    if run:
        scan.run()
    return scan
