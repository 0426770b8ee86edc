"""Files of an acquisition: those of the receivers, and the master files that the access process makes of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lima2_bliss.client.status import ReceiverStatus
from lima2_bliss.contract import DeviceTimeoutError, FrameInfo, Lima2Error, SavingError
from lima2_bliss.contract.access import MasterJob
from lima2_bliss.contract.parameters import Saving

if TYPE_CHECKING:
    from lima2_bliss.client.acquisition import Devices

logger = logging.getLogger(__name__)

#: Frame source that a saving section of the processing parameters saves.
SOURCES = {"saving": "frame", "saving_dense": "frame"}


class MasterWriter:
    """The files of one acquisition, told from its saving parameters."""

    def __init__(
        self, uuid: str, devices: Devices, acquisition: dict[str, Any], processing: dict[str, Any], poll_s: float = 0.01
    ) -> None:
        self._uuid = uuid
        self._devices = devices
        self._acquisition = acquisition
        self._processing = processing
        self._poll_s = poll_s
        self._saving = {
            source: Saving.model_validate(processing[section])
            for section, source in SOURCES.items()
            if (processing.get(section) or {}).get("enabled")
        }
        self._written: dict[str, Path] = {}

    @property
    def paths(self) -> dict[str, Path]:
        """Path of the master file of each saved source."""
        return {source: saving.layout().master_file for source, saving in self._saving.items()}

    def receiver_files(self, receivers: Sequence[ReceiverStatus]) -> list[Path]:
        """Complete files, in rank order."""
        return [
            saving.layout().receiver_file(receiver.rank, number)
            for saving in self._saving.values()
            for receiver in receivers
            for number in range(receiver.pipeline.files)
        ]

    def write(self, receivers: Sequence[ReceiverStatus], timeout_s: float) -> dict[str, Path]:
        """Write the master files over what is in complete files; those already written stay as they are."""
        for source, saving in self._saving.items():
            if source in self._written:
                continue
            counts = [receiver.pipeline.saved_contiguous for receiver in receivers]
            if self._devices.access is None:
                logger.warning("acquisition %s: no access device is configured, so no master file", self._uuid)
                continue
            if not any(counts):
                logger.info("acquisition %s: nothing was saved, so there is no master file", self._uuid)
                continue
            self._write_one(source, saving, counts, receivers, timeout_s)
        return dict(self._written)

    def _write_one(
        self,
        source: str,
        saving: Saving,
        counts: list[int],
        receivers: Sequence[ReceiverStatus],
        timeout_s: float,
    ) -> None:
        info = FrameInfo.from_json(receivers[0].pipeline.frame_info)
        job = MasterJob(
            saving=saving, counts=counts, shape=info.shape, dtype=info.dtype.str, metadata=self._metadata(source)
        )
        access = self._devices.access
        assert access is not None
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

    def _metadata(self, source: str) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "acquisition_uuid": self._uuid,
            "frame_source": source,
            "params": {"acquisition": self._acquisition, "processing": self._processing},
        }
        try:
            tree["detector_information"] = json.loads(self._devices.control.read("det_info")[0])
        except Lima2Error as error:
            logger.warning("acquisition %s: master file goes without detector information: %s", self._uuid, error)
        return tree
