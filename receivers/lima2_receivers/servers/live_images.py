"""The part of the image device that viewers of a camera know: video attributes, as those of a LImA 1 device.

Flint's image monitoring waits for changes of `video_last_image_counter`, and reads `video_last_image` while
`video_live` is true.
"""

from __future__ import annotations

import tango
from tango.server import Device, attribute, command

from lima2_bliss.contract.access import LiveJob
from lima2_bliss.contract.encoding import encode_lima1_video
from lima2_bliss.contract.parameters.strict import parse
from lima2_receivers.access import Image, LiveFeed, ReceiverReaders
from lima2_receivers.servers.tango_errors import beside_others, json_text, speaks_tango

_COUNTER = "video_last_image_counter"


class LiveImages(Device):
    """The newest images of a live view that a session runs on the detector."""

    def begin_live(self, readers: ReceiverReaders) -> None:
        """Be ready for a live view."""
        self._feed = LiveFeed(readers, self._tell)
        self._encoded_live: tuple[Image | None, tuple[str, bytes]] | None = None
        self.set_change_event(_COUNTER, True, False)

    def end_live(self) -> None:
        """End a live view and what follows it."""
        self._feed.close()

    def _tell(self, counter: int) -> None:
        with tango.EnsureOmniThread():
            self.push_change_event(_COUNTER, counter)

    # --- for lima2-bliss ----------------------------------------------------------------------------------------------

    @command(dtype_in=str, doc_in="JSON of a LiveJob: the acquisition that is a live view")
    @speaks_tango
    @beside_others
    def ShowLive(self, text: str) -> None:
        self._feed.show(parse(LiveJob, json_text(text), "live job"))

    @command(dtype_out=str, doc_out="JSON of a LiveWish: what viewers ask for; says that the session is there")
    @speaks_tango
    @beside_others
    def PollLive(self) -> str:
        return self._feed.poll().model_dump_json()

    @command(dtype_in=bool, doc_in="true: only paused, viewers may start it again")
    @speaks_tango
    @beside_others
    def EndLive(self, paused: bool) -> None:
        self._feed.end(paused)

    @attribute(dtype=str, doc="acquisition that is the live view, empty when there is none")
    @speaks_tango
    def live_uuid(self) -> str:
        job = self._feed.job
        return "" if job is None else job.images.uuid

    # --- for viewers of cameras ---------------------------------------------------------------------------------------

    @attribute(dtype=bool, access=tango.AttrWriteType.READ_WRITE, doc="a live view runs; writing asks its session")
    @speaks_tango
    def video_live(self) -> bool:
        return self._feed.live

    @video_live.write  # type: ignore[no-redef]
    @speaks_tango
    def video_live(self, run: bool) -> None:
        if run or self._feed.live:
            self._feed.wish(run=run)

    @attribute(dtype="DevLong64", doc="number of the newest image of the live view, -1 before the first one")
    @speaks_tango
    def video_last_image_counter(self) -> int:
        return self._feed.counter

    @attribute(dtype="DevEncoded", doc="newest image of the live view, in whole numbers (VIDEO_IMAGE)")
    @speaks_tango
    def video_last_image(self) -> tuple[str, bytes]:
        newest = self._feed.newest()
        image = None if newest is None else newest[1]
        encoded = self._encoded_live
        if encoded is None or encoded[0] is not image:
            fresh = encode_lima1_video(None, -1) if newest is None else encode_lima1_video(newest[1].pixels, newest[0])
            encoded = self._encoded_live = (image, fresh)
        return encoded[1]

    @attribute(
        dtype=float, unit="s", access=tango.AttrWriteType.READ_WRITE, doc="exposure time of the live view; writing asks"
    )
    @speaks_tango
    def acq_expo_time(self) -> float:
        job = self._feed.job
        return 0.0 if job is None else job.expo_time_s

    @acq_expo_time.write  # type: ignore[no-redef]
    @speaks_tango
    def acq_expo_time(self, seconds: float) -> None:
        self._feed.wish(expo_time_s=seconds)

    @attribute(dtype=float, unit="s", doc="dead time between two images of the live view")
    @speaks_tango
    def latency_time(self) -> float:
        job = self._feed.job
        return 0.0 if job is None else job.latency_s
