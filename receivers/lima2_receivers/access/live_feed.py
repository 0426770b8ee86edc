"""The newest images of a live view, for viewers of a camera: fetched only while somebody looks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from lima2_bliss.contract import Lima2Error, StateError
from lima2_bliss.contract.access import LiveJob, LiveWish
from lima2_receivers.access.image_source import NEWEST, Image, ImageSource, ReceiverReaders

logger = logging.getLogger(__name__)


class LiveFeed:
    """Follows a live view every ``period_s``, and tells ``on_counter`` of each new number of images.

    The pixels are fetched while somebody has looked at them within ``idle_s``, those of the first image in any case;
    looking never waits for a receiver. The view ends with `end`, or when its session does not `poll` within the lease.
    Threads may share it.
    """

    def __init__(
        self,
        readers: ReceiverReaders,
        on_counter: Callable[[int], None],
        *,
        period_s: float = 0.1,
        idle_s: float = 3.0,
    ) -> None:
        self._readers = readers
        self._on_counter = on_counter
        self._period_s = period_s
        self._idle_s = idle_s
        self._changed = threading.Condition()
        self._job: LiveJob | None = None
        self._source: ImageSource | None = None
        self._lease_until = 0.0
        self._looked_at = 0.0
        self._wish = LiveWish()
        self._counter = -1
        self._image: tuple[int, Image] | None = None
        self._thread: threading.Thread | None = None

    # --- for the session that runs the live view ----------------------------------------------------------------------

    def show(self, job: LiveJob) -> None:
        """Offer the images of an acquisition from now on; the last one of the one before stays until it has one."""
        with self._changed:
            if job.before == 0:
                self._image, self._counter = None, -1
            self._job = job
            self._source = ImageSource(job.images, self._readers)
            self._wish = LiveWish(expo_time_s=job.expo_time_s)
            self._renew()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._follow, name="live:feed", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def poll(self) -> LiveWish:
        """What viewers wish; the session is there, also while the view is paused."""
        with self._changed:
            self._renew()
            return self._wish

    def end(self, paused: bool = False) -> None:
        """The live view has ended; when it is ``paused`` viewers may start it again as long as the session polls."""
        with self._changed:
            self._source = None
            self._wish = LiveWish(run=False, expo_time_s=self._wish.expo_time_s)
            if not paused:
                self._lease_until = 0.0
            self._changed.notify_all()

    def close(self) -> None:
        """End, and wait for the thread."""
        self.end()
        thread = self._thread
        if thread is not None:
            thread.join()

    # --- for viewers --------------------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Images come."""
        return self._source is not None and self._heard

    @property
    def job(self) -> LiveJob | None:
        """The live view that was shown last."""
        return self._job

    @property
    def counter(self) -> int:
        """Number of the newest image of the live view, -1 before the first one."""
        return self._counter

    def newest(self) -> tuple[int, Image] | None:
        """(number, image) fetched last; None when there is none yet. Looking makes the next ones being fetched."""
        self._looked_at = time.monotonic()
        return self._image

    def wish(self, run: bool | None = None, expo_time_s: float | None = None) -> None:
        """Ask the session to run or pause the live view, or for another exposure time [s]."""
        with self._changed:
            if not self._heard:
                raise StateError(
                    "no session runs a live view of this detector; start it there with <detector>.live.start()"
                )
            given = {"run": run, "expo_time_s": expo_time_s}
            wanted = {name: value for name, value in given.items() if value is not None}
            self._wish = LiveWish.model_validate({**self._wish.model_dump(), **wanted})

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _heard(self) -> bool:
        return time.monotonic() < self._lease_until

    def _renew(self) -> None:
        if self._job is not None:
            self._lease_until = time.monotonic() + self._job.lease_s

    def _follow(self) -> None:
        while True:
            with self._changed:
                if self._source is None or not self._heard:
                    self._source = self._thread = None
                    return
                source, before = self._source, 0 if self._job is None else self._job.before
            try:
                self._look(source, before)
            except Lima2Error as error:
                logger.debug("no image of the live view: %s", error)
            with self._changed:
                self._changed.wait_for(lambda used=source: self._source is not used, self._period_s)  # type: ignore[misc]

    def _look(self, source: ImageSource, before: int) -> None:
        index = source.last_index()
        counter = before + index
        if index < 0 or counter <= self._counter:
            return
        if self._image is None or time.monotonic() - self._looked_at < self._idle_s:
            image = source.read(NEWEST)
            counter = before + image.index
            self._image = counter, image
        self._counter = counter
        self._on_counter(counter)
