"""Files of an acquisition: those of the receivers, and the master files that the access process makes of them."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from lima2_bliss.client.counts_table import counts_table
from lima2_bliss.client.devices import Devices
from lima2_bliss.client.errors_by_device import one_error
from lima2_bliss.client.nxdetector import detector_fields, for_files, image_transform
from lima2_bliss.client.sources import FRAME, RAW, RAW_FRAME, SPARSE_FRAME, accumulation_depth, enabled_savings
from lima2_bliss.client.status import ReceiverStatus
from lima2_bliss.client.tango_link import DeviceLink
from lima2_bliss.contract import ConnectionLostError, DeviceTimeoutError, FrameInfo, Lima2Error, SavingError
from lima2_bliss.contract.access import MasterJob

logger = logging.getLogger(__name__)

#: One master file at a time is asked of an access device, by its name: a scan may end while an earlier one is saved.
_turns: defaultdict[str, Lock] = defaultdict(Lock)


class MasterWriter:
    """The files of one acquisition, told from its saving parameters."""

    def __init__(
        self,
        uuid: str,
        devices: Devices,
        acquisition: dict[str, Any],
        processing: dict[str, Any],
        poll_s: float = 0.004,
    ) -> None:
        self._uuid = uuid
        self._devices = devices
        self._acquisition = acquisition
        self._processing = processing
        self._poll_s = poll_s
        self._saving = enabled_savings(processing)
        self._depth = accumulation_depth(processing)
        self._written: dict[str, Path] = {}
        self._described: dict[str, Any] = {}

    def describe(self, fields: Mapping[str, Any]) -> None:
        """NXdetector fields that the master files will have beside those that follow from the parameters."""
        self._described = dict(fields)

    @property
    def paths(self) -> dict[str, Path]:
        """Path of the master file of each saved source."""
        return {source: saving.layout().master_file for source, saving in self._saving.items()}

    def receiver_files(self, receivers: Sequence[ReceiverStatus]) -> list[Path]:
        """Complete files, source after source in rank order."""
        return [
            saving.layout().receiver_file(receiver.rank, number)
            for source, saving in self._saving.items()
            for receiver in receivers
            for number in range(receiver.source(source).files)
        ]

    def write(self, receivers: Sequence[ReceiverStatus], timeout_s: float) -> dict[str, Path]:
        """Write the master files over what is in complete files; those already written stay as they are.

        All are tried before an error is raised. That of the sparse frames comes first: others link to its spots.
        """
        errors: list[Lima2Error] = []
        for source in sorted(self._saving, key=lambda source: source != SPARSE_FRAME):
            if source in self._written:
                continue
            if self._devices.access is None:
                logger.warning("acquisition %s: no access device is configured, so no master file", self._uuid)
                break
            counts = [receiver.source(source).saved_contiguous for receiver in receivers]
            if not any(counts):
                logger.info("acquisition %s: no %s was saved, so it has no master file", self._uuid, source)
                continue
            try:
                self._write_one(source, counts, receivers, timeout_s)
            except ConnectionLostError as error:
                lacking = ", ".join(sorted(self._saving.keys() - self._written.keys()))
                where = f"no master file of {lacking} in {self.paths[source].parent}"
                text = f"{where}, the receivers' files are complete: {error.what}"
                errors.append(ConnectionLostError(text, **error.errinfo))
                break
            except Lima2Error as error:
                errors.append(error)
        if errors:
            raise one_error(errors)
        return dict(self._written)

    def _job(self, source: str, counts: list[int], receivers: Sequence[ReceiverStatus]) -> MasterJob:
        info = FrameInfo.from_json(next(told for receiver in receivers if (told := receiver.source(source).frame_info)))
        return MasterJob(
            saving=self._saving[source],
            counts=counts,
            block=self._depth if source in RAW else 1,
            shape=info.shape,
            dtype=info.dtype.str,
            kind="sparse" if source == SPARSE_FRAME else "dense",
            spots=self._saving[SPARSE_FRAME] if source == FRAME and SPARSE_FRAME in self._written else None,
            metadata=self._metadata(source, receivers),
        )

    def _write_one(self, source: str, counts: list[int], receivers: Sequence[ReceiverStatus], timeout_s: float) -> None:
        job = self._job(source, counts, receivers)
        access = self._devices.access
        assert access is not None
        with _turns[access.name]:
            self._have_written(source, job, access, timeout_s)

    def _have_written(self, source: str, job: MasterJob, access: DeviceLink, timeout_s: float) -> None:
        access.call("WriteMaster", job.model_dump_json())
        deadline = time.monotonic() + timeout_s
        while True:
            state = json.loads(access.read("master_state")[0])
            if state["state"] == "done":
                self._written[source] = Path(state["path"])
                return
            if state["state"] == "failed":
                raise SavingError(f"master file of {source} was not written: {state['error']}", path=self.paths[source])
            if time.monotonic() > deadline:
                raise DeviceTimeoutError(f"master file of {source} is not written after {timeout_s:g} s")
            time.sleep(self._poll_s)  # under gevent this is gevent's

    def _metadata(self, source: str, receivers: Sequence[ReceiverStatus]) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "acquisition_uuid": self._uuid,
            "frame_source": source,
            "params": {"acquisition": self._acquisition, "processing": self._processing},
            "receivers": counts_table(receivers),
        }
        info: dict[str, Any] = {}
        try:
            info = tree["detector_information"] = json.loads(self._devices.control.read("det_info")[0])
        except Lima2Error as error:
            logger.warning("acquisition %s: master file goes without detector information: %s", self._uuid, error)
        fields = detector_fields(self._acquisition, self._processing, info) | self._described
        size = info.get("dimensions")
        if size and self._acquisition.get("img") and source == FRAME:
            tree["image_transform"] = image_transform(self._acquisition, (size["y"], size["x"])).to_json()
        return for_files(fields, raw=source == RAW_FRAME) | tree
