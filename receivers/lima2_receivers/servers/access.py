"""``lima2-access INSTANCE``: the image device of a detector, as consumers of ``lima_v1`` streams expect it.

blissdata and Flint call `readImage` and read `acq_mode`; they take an error with "not available yet" in its text as
"no image so far", any other one as a failure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import tango
from tango.server import attribute, command, device_property

from lima2_bliss.contract import NotYetAvailableError
from lima2_bliss.contract.access import AttachJob, MasterJob
from lima2_bliss.contract.encoding import encode_lima1_image
from lima2_bliss.contract.parameters.strict import parse
from lima2_bliss.contract.pixels import pixel_type_of
from lima2_receivers.access import Image, ImageSource, MasterTask, ReceiverReaders
from lima2_receivers.servers.acquisition_device import software_version
from lima2_receivers.servers.instance import find_instance, run_main, serve
from lima2_receivers.servers.live_images import LiveImages
from lima2_receivers.servers.log_level import log_to_stderr
from lima2_receivers.servers.tango_errors import beside_others, json_text, speaks_tango

SERVER = "lima2_access"

#: The LImA1 whose behaviour this device has: clients from 1.10 on may ask for image -1.
LIMA1_VERSION = "1.10.3"
_LIMA1_TYPES = {"gray8": "Bpp8", "gray16": "Bpp16", "gray32": "Bpp32", "gray8s": "Bpp8S", "gray16s": "Bpp16S"}
_LIMA1_TYPES |= {"gray32s": "Bpp32S", "gray32f": "Bpp32F", "gray64f": "Bpp64F"}


class LimaImage(LiveImages):
    """Images of the acquisition that was attached last, of a live view, and the writer of the master files."""

    receivers: Sequence[str] = device_property(dtype=(str,), default_value=())
    control: str = device_property(dtype=str, default_value="")

    def init_device(self) -> None:
        """Show nothing until `Attach`."""
        super().init_device()
        self._readers = ReceiverReaders()
        self.begin_live(self._readers)
        self._masters = MasterTask()
        self._source: ImageSource | None = None
        self._encoded: tuple[Image, tuple[str, bytes]] | None = None
        self.set_state(tango.DevState.ON)

    def delete_device(self) -> None:
        """Disconnect; a master file under way is finished first."""
        self.end_live()
        self._readers.close()
        self._masters.close()
        super().delete_device()

    # --- for lima2-bliss ----------------------------------------------------------------------------------------------

    @command(dtype_in=str, doc_in="JSON of an AttachJob: the acquisition to show")
    @speaks_tango
    @beside_others
    def Attach(self, text: str) -> None:
        self._source = ImageSource(parse(AttachJob, json_text(text), "attach job"), self._readers)

    @command
    @speaks_tango
    @beside_others
    def Detach(self) -> None:
        self._source = None

    @command(dtype_in=str, doc_in="JSON of a MasterJob; returns at once, see master_state")
    @speaks_tango
    @beside_others
    def WriteMaster(self, text: str) -> None:
        self._masters.start(parse(MasterJob, json_text(text), "master job"))

    @attribute(dtype=str, doc="JSON of the last master file: state (idle, writing, done, failed), path, error")
    @speaks_tango
    def master_state(self) -> str:
        return json.dumps(self._masters.state.to_dict())

    @attribute(dtype=str, doc="JSON of the AttachJob, empty if nothing is attached")
    @speaks_tango
    def attached(self) -> str:
        return "" if self._source is None else json.dumps(self._source.job.model_dump(mode="json"))

    @attribute(dtype=str, doc="version of lima2-bliss in this process")
    @speaks_tango
    def version(self) -> str:
        return software_version()

    @attribute(dtype="DevLong64", doc="process id")
    @speaks_tango
    def pid(self) -> int:
        return os.getpid()

    # --- for consumers of lima_v1 streams -----------------------------------------------------------------------------

    @command(dtype_in="DevLong", doc_in="index in the acquisition, -1 is the newest", dtype_out="DevEncoded")
    @speaks_tango
    @beside_others
    def readImage(self, index: int) -> tuple[str, bytes]:
        image = self._attached().read(index)
        encoded = self._encoded
        if encoded is None or encoded[0] is not image:
            encoded = self._encoded = (image, encode_lima1_image(image.pixels, image.index))
        return encoded[1]

    @attribute(dtype="DevLong", doc="index of the newest image, -1 if there is none")
    @speaks_tango
    def last_image_ready(self) -> int:
        return -1 if self._source is None else self._source.last_index()

    @attribute(dtype="DevLong", doc="images expected, 0 if endless or nothing is attached")
    @speaks_tango
    def acq_nb_frames(self) -> int:
        return 0 if self._source is None else self._source.job.nb_frames

    @attribute(dtype=str)
    @speaks_tango
    def acq_mode(self) -> str:
        return "SINGLE"

    @attribute(dtype=str, doc="a word that lets clients trust image index 0")
    @speaks_tango
    def acq_trigger_mode(self) -> str:
        return "INTERNAL_TRIGGER_MULTI"

    @attribute(dtype=str, doc="LImA1 version whose behaviour this device has")
    @speaks_tango
    def lima_version(self) -> str:
        return LIMA1_VERSION

    @attribute(dtype=str)
    @speaks_tango
    def lima_type(self) -> str:
        return "lima2-bliss"

    @attribute(dtype="DevLong", unit="px")
    @speaks_tango
    def image_width(self) -> int:
        return self._attached().info().width

    @attribute(dtype="DevLong", unit="px", doc="several channels stand one below the other")
    @speaks_tango
    def image_height(self) -> int:
        info = self._attached().info()
        return info.nb_channels * info.height

    @attribute(dtype=str)
    @speaks_tango
    def image_type(self) -> str:
        return _LIMA1_TYPES[pixel_type_of(self._attached().info().dtype)]

    def _attached(self) -> ImageSource:
        source = self._source
        if source is None:
            raise NotYetAvailableError(
                "image is not available yet: no acquisition was prepared since this server started"
            )
        return source


def serve_access(name: str, arguments: Sequence[str]) -> None:
    """Serve instance ``name`` until it is told to end."""
    instance = find_instance(SERVER, name)
    log_to_stderr(instance.device)
    serve(instance, [LimaImage], arguments)


def main() -> None:
    """Entry point of ``lima2-access``."""
    run_main(SERVER, serve_access)
