"""When frames are exposed: trains of exposures, and the plan that a running acquisition makes of them. Pure arithmetic.

All times are CLOCK_REALTIME nanoseconds. A frame has been *exposed* when its exposure is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from lima2_bliss.contract import StateError
from lima2_bliss.contract.parameters import Acquisition, Parameters

#: Frames of an acquisition without end.
ENDLESS = 1 << 40
_LATEST = 1 << 62


class Train(Parameters):
    """``count`` frames from global index ``first`` on, ``per_trigger`` at each of a row of equidistant triggers."""

    first: int = Field(ge=0, le=ENDLESS)
    count: int = Field(ge=1, le=ENDLESS)
    start_ns: int = Field(ge=0, le=_LATEST)
    exposure_ns: int = Field(ge=0, le=_LATEST)
    frame_period_ns: int = Field(ge=1, le=_LATEST)
    per_trigger: int = Field(ge=1, le=ENDLESS)
    trigger_period_ns: int = Field(0, ge=0, le=_LATEST)

    @property
    def stop(self) -> int:
        """Global index after the last frame."""
        return self.first + self.count

    def end_ns(self, index: int) -> int:
        """When the exposure of global frame ``index`` is over."""
        trigger, within = divmod(index - self.first, self.per_trigger)
        return self.start_ns + trigger * self.trigger_period_ns + within * self.frame_period_ns + self.exposure_ns

    @property
    def free_ns(self) -> int:
        """When the detector is ready for another trigger after the last frame (its dead time is over)."""
        return self.end_ns(self.stop - 1) - self.exposure_ns + self.frame_period_ns

    def exposed(self, now_ns: int) -> int:
        """How many of the frames have been exposed."""
        elapsed = now_ns - self.start_ns - self.exposure_ns
        if elapsed < 0:
            return 0
        trigger, within = (0, elapsed) if self.count <= self.per_trigger else divmod(elapsed, self.trigger_period_ns)
        frames = trigger * self.per_trigger + min(within // self.frame_period_ns + 1, self.per_trigger)
        return min(frames, self.count)


@dataclass
class ExposurePlan:
    """The exposures of one acquisition so far. Every method that gives a train has the detector expose it."""

    acq: Acquisition
    #: A trigger may come this much before the end of the last exposure, for hosts whose clocks differ.
    clock_tolerance_ns: int = 5_000_000
    planned: int = 0  # frames in trains
    _trains: list[Train] = field(default_factory=list)  # those that were not over when the last one was added
    _gate_up_ns: int | None = None

    @property
    def total(self) -> int:
        """Frames of the acquisition."""
        return self.acq.nb_frames or ENDLESS

    @property
    def exposure_ns(self) -> int:
        return self.acq.expo_time * 1000

    @property
    def period_ns(self) -> int:
        return (self.acq.expo_time + self.acq.latency_time) * 1000

    def exposed(self, now_ns: int) -> int:
        """Frames exposed so far."""
        before = self._trains[0].first if self._trains else 0
        return before + sum(train.exposed(now_ns) for train in self._trains)

    @property
    def _free_ns(self) -> int:
        return self._trains[-1].free_ns if self._trains else 0

    def _add(self, now_ns: int, train: Train) -> Train:
        self._trains = [old for old in self._trains if old.exposed(now_ns) < old.count]
        self._trains.append(train)
        self.planned += train.count
        return train

    def start(self, now_ns: int) -> Train | None:
        """The train of an internal trigger: all frames at once; None in other modes."""
        if self.acq.trigger_mode != "internal":
            return None
        train = Train(
            first=0,
            count=self.total,
            per_trigger=self.total,
            start_ns=now_ns,
            exposure_ns=self.exposure_ns,
            frame_period_ns=self.period_ns,
        )
        return self._add(now_ns, train)

    def trigger(self, now_ns: int) -> Train:
        """The frames of a software trigger. In the dead time it waits; during an exposure it is a `StateError`."""
        if self.acq.trigger_mode != "software":
            raise StateError(
                f"software trigger in trigger mode {self.acq.trigger_mode!r}; set acq.trigger_mode to 'software'"
            )
        if self.planned >= self.total:
            raise StateError(f"software trigger after all {self.total} frames; prepare another acquisition")
        if self._trains:
            last = self._trains[-1]
            left_ns = last.end_ns(last.stop - 1) - now_ns
            if left_ns > self.clock_tolerance_ns:
                raise StateError(
                    f"software trigger comes {left_ns / 1e6:.3f} ms before the frames of the last one are exposed; "
                    "wait for the frames"
                )
        return self._triggered(max(now_ns, self._free_ns), 1, 0, now_ns)

    def pulses(self, now_ns: int, number: int, period_ns: int, width_ns: int) -> tuple[Train | None, int]:
        """What ``number`` input pulses from now on expose, and how many of them fall on a busy detector (ignored)."""
        gate = self.acq.trigger_mode == "gate"
        if gate:
            self._need_input("gate")
            busy_ns = width_ns + self.acq.latency_time * 1000
        else:
            self._need_input("external")
            busy_ns = self.acq.nb_frames_per_trigger * self.period_ns
        period_ns = max(period_ns, 1)
        skipped = max(-(-(self._free_ns - now_ns) // period_ns), 0)
        every = max(-(-busy_ns // period_ns), 1)
        usable = -(-(number - skipped) // every) if skipped < number else 0
        per_trigger = 1 if gate else self.acq.nb_frames_per_trigger
        accepted = min(usable, -(-(self.total - self.planned) // per_trigger))
        if accepted <= 0:
            return None, number
        start_ns = now_ns + skipped * period_ns
        if gate:
            train = self._gated(start_ns, width_ns, accepted, every * period_ns, now_ns)
        else:
            train = self._triggered(start_ns, accepted, every * period_ns, now_ns)
        return train, number - accepted

    def input_level(self, now_ns: int, high: bool) -> Train | None:
        """What a change of the input's level exposes: a rising edge triggers, a gate's falling edge ends its frame."""
        if self.acq.trigger_mode == "external":
            return self.pulses(now_ns, 1, 1, 1)[0] if high else None
        self._need_input("gate")
        if high:
            free = now_ns >= self._free_ns and self.planned < self.total
            self._gate_up_ns = now_ns if free else None
            return None
        up_ns, self._gate_up_ns = self._gate_up_ns, None
        return None if up_ns is None else self._gated(up_ns, now_ns - up_ns, 1, 0, now_ns)

    def _need_input(self, mode: str) -> None:
        if self.acq.trigger_mode != mode:
            raise StateError(
                f"the input is not used in trigger mode {self.acq.trigger_mode!r}; "
                "set acq.trigger_mode to 'external' or 'gate'"
            )

    def _triggered(self, start_ns: int, triggers: int, trigger_period_ns: int, now_ns: int) -> Train:
        train = Train(
            first=self.planned,
            count=min(triggers * self.acq.nb_frames_per_trigger, self.total - self.planned),
            per_trigger=self.acq.nb_frames_per_trigger,
            start_ns=start_ns,
            exposure_ns=self.exposure_ns,
            frame_period_ns=self.period_ns,
            trigger_period_ns=trigger_period_ns,
        )
        return self._add(now_ns, train)

    def _gated(self, start_ns: int, width_ns: int, gates: int, gate_period_ns: int, now_ns: int) -> Train:
        train = Train(
            first=self.planned,
            count=gates,
            per_trigger=1,
            start_ns=start_ns,
            exposure_ns=width_ns,
            frame_period_ns=max(width_ns + self.acq.latency_time * 1000, 1),
            trigger_period_ns=gate_period_ns,
        )
        return self._add(now_ns, train)
