"""Looks after a running acquisition: where it ends, what is counted, and trouble in one clear error."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError, Lima2Error
from lima2_receivers.detectors.jungfrau.exposures import Exposures, Heard
from lima2_receivers.detectors.jungfrau.intake import Counts, Intake
from lima2_receivers.detectors.jungfrau.silence import Silence, Trouble, describe, never_heard

log = logging.getLogger(__name__)

#: How often it looks, apart from when the control says something [s].
LOOK_S = 0.1
#: What an intake has to end in, after the wait for the cut [s].
ENDING_S = 0.1


@dataclass(frozen=True)
class Patience:
    """How long what is waited for [s], and whether modules may be missing (``tolerant``).

    ``control_s``: a silent control; ``detector_s``: exposed frames without packets; ``stop_s``: the control's cut
    after a stop; ``note_s``: from one note of the counts to the next.
    """

    control_s: float = 3.0
    detector_s: float = 3.0
    stop_s: float = 0.8
    note_s: float = 0.5
    tolerant: bool = False


class Watch:
    """Watches ``intake`` in a thread of its own, in ``with``; ``due_of`` says how many of the first n frames are its.

    ``learning``: the control does not know frame numbers and exposures. ``note`` gets counts and warnings. What went
    wrong is raised by `check`, after the intake was stopped.
    """

    def __init__(
        self,
        intake: Intake,
        exposures: Exposures,
        due_of: Callable[[int], int],
        note: Callable[[Mapping[str, int], Sequence[str]], None],
        patience: Patience,
        learning: bool,
        name: str,
    ) -> None:
        config = intake.config
        self._intake, self._exposures = intake, exposures
        self._due_of, self._note = due_of, note
        self._patience, self._learning = patience, learning
        self._silence = Silence(len(config.ports), config.packets, patience.detector_s, learning)
        self._name = name
        self._warnings: dict[str, None] = dict.fromkeys(intake.warnings)
        self._error: Lima2Error | None = None
        self._alarmed = self._cut_missed = self._closed = False
        self._told: tuple[int | None, bool] = None, False
        self._thread = threading.Thread(target=self._run, name=f"{name}:watch", daemon=True)

    def __enter__(self) -> Self:
        self._exposures.listen()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed = True
        self._exposures.wake()
        self._thread.join()
        self._note_counts()

    def check(self) -> None:
        """After the intake has ended: raise what went wrong."""
        heard = self._exposures.heard
        if self._error is None and heard.total is not None and heard.stop_s is None:
            trouble = never_heard(self._due_of(heard.total), self._intake.progress())
            if trouble is not None:
                self._report(trouble, "in the whole acquisition")
                self._note_counts()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        news, noted_s = -1, 0.0
        try:
            while not self._closed:
                news = self._exposures.wait_news(news, self._look_in_s())
                now_s, heard = time.monotonic(), self._exposures.heard
                self._end(heard, now_s)
                if self._error is None and heard.stop_s is None:
                    self._look(heard, now_s)
                if now_s - noted_s >= self._patience.note_s:
                    noted_s = now_s
                    self._note_counts()
        except BaseException as error:  # raised by check
            self._fail(AcquisitionError(f"watching the reception failed: {error}"))
            log.exception("%s: watching the reception failed", self._name)

    def _look_in_s(self) -> float:
        heard = self._exposures.heard
        if heard.stop_s is None or self._cut_missed:
            return LOOK_S
        return min(LOOK_S, max(heard.stop_s + self._patience.stop_s - time.monotonic(), 0.0))

    def _end(self, heard: Heard, now_s: float) -> None:
        """Tell the intake where the acquisition ends."""
        if heard.stop_s is not None and heard.total is None:
            if now_s >= heard.stop_s + self._patience.stop_s and not self._cut_missed:
                self._cut_missed = True
                log.warning("%s: the control did not say where the cut of the stop is", self._name)
                self._intake.stop(within_s=ENDING_S)
            return
        telling = heard.total, heard.stop_s is not None
        if heard.total is None or telling == self._told:
            return
        self._told = telling
        within_s = None
        if heard.stop_s is not None:
            within_s = max(heard.stop_s + self._patience.stop_s - now_s, 0.0) + ENDING_S
        unknown = self._learning and heard.total == 0  # a stop where the control does not see the exposures
        self._intake.stop(None if unknown else self._due_of(heard.total), within_s)

    def _look(self, heard: Heard, now_s: float) -> None:
        """Whether control and detector do what they should."""
        silent_s = now_s - heard.at_s
        if heard.total is not None or silent_s < self._patience.control_s:
            self._alarmed = False
        elif not self._alarmed:  # this process may have been held up: let the listener catch up
            self._alarmed = True
        else:
            self._fail(
                DeviceTimeoutError(
                    f"{self._name}: the detector's control has been silent for {silent_s:.1f} s during the "
                    "acquisition; check that its process runs, then prepare again"
                )
            )
            return
        trouble = self._silence.look(now_s, self._due_of(heard.exposed), self._intake.progress())
        if trouble is not None:
            self._report(trouble, f"for {self._patience.detector_s:.3g} s")

    def _report(self, trouble: Trouble, period: str) -> None:
        config, progress = self._intake.config, self._intake.progress()
        text = describe(trouble, config.ports, progress, self._intake.stranger, period)
        if self._patience.tolerant and not trouble.whole:
            if text not in self._warnings:
                log.warning("%s: %s", self._name, text)
            self._warnings[text] = None
        elif any(progress[port].strange for port in trouble.ports):
            self._fail(AcquisitionError(f"{self._name}: {text}"))
        else:
            self._fail(DeviceTimeoutError(f"{self._name}: {text}"))

    def _fail(self, error: Lima2Error) -> None:
        if self._error is None:
            self._error = error
            self._intake.stop(within_s=ENDING_S)

    def _note_counts(self) -> None:
        counts = self._intake.counts()
        warnings = [*self._warnings, *counts.strangers]
        if counts.packets.kernel_dropped:
            warnings.append(
                "packets were dropped because the socket buffers were full: the receiver is too slow or was held up; "
                "give it cores of its own (det.receiving.cpus), or larger buffers (det.receiving.socket_buffer_mb)"
            )
        self._note(counts_to_note(counts), list(dict.fromkeys(warnings)))


def counts_to_note(counts: Counts) -> dict[str, int]:
    """What users see of an intake's counts."""
    packets = counts.packets
    return {
        "packets_received": packets.received,
        "packets_placed": packets.placed,
        "packets_misplaced": packets.misplaced,
        "packets_late": packets.late,
        "packets_duplicate": packets.duplicate,
        "packets_foreign": packets.foreign,
        "packets_malformed": packets.malformed,
        "packets_dropped_by_kernel": packets.kernel_dropped,
        "packets_missing": counts.missing,
        "frames_complete": counts.complete,
        "frames_incomplete": counts.incomplete,
        "frames_lost": counts.lost,
        "frames_overrun": counts.overrun,
    }
