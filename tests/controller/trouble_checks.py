"""What must hold after every trouble: the end of the scan, its streams, its files, and the next scan."""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import h5py
import hdf5plugin
import numpy as np
from bliss.common.scans import loopscan
from bliss.scanning.scan import ScanAbort
from trouble_plan import Experiment

from lima2_bliss.contract import Lima2Error

assert hdf5plugin.FILTERS  # imported for its filters

#: What a user can do about it; every message has one of these.
ADVICE = re.compile(
    r"start|raise|see |set |remove|check|free |wait|recover|stop\(\)|reset|choose|give|scan again|look|make", re.I
)
NAMES = re.compile(r"id00/|/\w+/\w+|Redis|sim\w+")
DATA, INDEX = "entry_0000/instrument/{}/data", "entry_0000/instrument/{}/frame_index"
CLEAN_POINTS = 5


class Greenlets:
    """Greenlets that were started by code of ours since this was made."""

    def __init__(self) -> None:
        self._seen: weakref.WeakSet[gevent.Greenlet] = weakref.WeakSet()
        gevent.Greenlet.add_spawn_callback(self._note)

    def _note(self, greenlet: gevent.Greenlet) -> None:
        if str(getattr(getattr(greenlet, "_run", None), "__module__", "")).startswith("lima2_bliss"):
            self._seen.add(greenlet)

    def left(self, timeout_s: float) -> list[str]:
        """Those that still run after ``timeout_s``."""
        gevent.joinall(list(self._seen), timeout=timeout_s)
        return [str(greenlet) for greenlet in self._seen if not greenlet.ready()]


def end_faults(experiment: Experiment, error: BaseException | None, late_s: float) -> Iterator[str]:
    """What is wrong with how the scan ended: ``late_s`` after the trouble had passed, with ``error``."""
    if late_s > experiment.limit_s:
        yield f"the scan was over {late_s:.1f} s after the trouble, limit {experiment.limit_s:g} s"
    if error is None or isinstance(error, (ScanAbort, KeyboardInterrupt)):
        return
    text = str(error)
    if not isinstance(error, Lima2Error):
        yield f"not an error of ours: {type(error).__name__}: {text}"
    if not NAMES.search(text):
        yield f"the error names nothing: {text}"
    if not ADVICE.search(text):
        yield f"the error does not say what to do: {text}"
    # one line for each device that reports it
    if max(map(len, text.splitlines())) > 350 or text.count("\n") > 4 or "Traceback" in text:
        yield f"the error is no sentence: {text}"


def stream_faults(scan: Any, det: str) -> Iterator[str]:
    """Streams that are open still, or have a wrong row."""
    for name, stream in scan.streams.items():
        if not stream.is_sealed():
            yield f"stream {name} is not sealed"
            return
    numbers = scan.streams.get(f"{det}:number_sum")
    if numbers is not None and (values := np.asarray(numbers[:])).tolist() != list(range(len(values))):
        yield f"published rows are not in order: {values.tolist()}"


def promised(scan: Any, det: str) -> int:
    """How many images the image stream says to be in files."""
    stream = scan.streams.get(f"{det}:image")
    if stream is None:
        return 0
    entries = stream._json_stream
    return int(entries[len(entries) - 1]["last_index_saved"]) + 1 if len(entries) else 0


def file_faults(images: Path | None, det: str, promise: int, read: Any) -> Iterator[str]:
    """Frames that were promised and cannot be read, or are others than they claim; ``read(index)`` is blissdata."""
    if images is None or not images.is_dir():
        if promise:
            yield f"{promise} images were said to be saved, but there is no directory {images}"
        return
    there: set[int] = set()
    for path in sorted(images.glob(f"{det}_*[0-9]_[0-9]*.h5")):
        try:
            with h5py.File(path) as file:
                if DATA.format(det) not in file or "_acc_" in path.name:
                    continue  # no single frames
                stamps, indices = file[DATA.format(det)][:, 0, 0], file[INDEX.format(det)][:]
        except (OSError, KeyError) as error:
            yield f"{path} cannot be read: {error}"
            continue
        right = stamps == indices
        if not right.all():
            yield f"{path}: frames {indices[~right].tolist()} have the pixels of {stamps[~right].tolist()}"
        there |= set(indices[right].tolist())
    if lacking := sorted(set(range(promise)) - there):
        yield f"{promise} images were said to be saved, but {lacking} are in no file of a receiver"
    for index in sorted({0, promise // 2, promise - 1} if promise and read is not None else set()):
        try:
            if int(read(index)[0, 0]) != index:
                yield f"image {index} reads as {int(read(index)[0, 0])}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the frame is lost
            yield f"image {index} was said to be saved, but reading it gives {type(error).__name__}: {error}"


def clean_scan_faults(det: Any, recover: bool) -> Iterator[str]:
    """What is wrong with a scan that is taken after it all."""
    try:
        if recover:
            det.recover()
        det.processing.pipeline, det.acquisition.step_trigger = "legacy", "software"
        scan = loopscan(CLEAN_POINTS, 0.005, det)
    except BaseException as error:  # noqa: BLE001 - ScanAbort too
        yield f"the next scan failed: {type(error).__name__}: {error}"
        return
    yield from (f"next scan: {fault}" for fault in stream_faults(scan, det.name))
    with h5py.File(scan.scan_info["filename"]) as file:
        stamps = file[f"{int(scan.scan_number)}.1/measurement/{det.name}"][:, 0, 0].tolist()
    sums = scan.streams[f"{det.name}:number_sum"][:].tolist()
    if not stamps == sums == list(range(CLEAN_POINTS)):
        yield f"next scan: images {stamps} in the file, {sums} in the stream"


def took(call: Any) -> tuple[Any, float]:
    """What the call gives, and its seconds."""
    began = time.monotonic()
    return call(), time.monotonic() - began
