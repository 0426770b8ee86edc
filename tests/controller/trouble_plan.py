"""Random experiments: a scan, and what goes wrong in it and when; all of it follows from a seed and a number."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: Scans, and how often each is drawn.
SCANS = {
    "ct": 2,
    "loopscan": 4,
    "ascan": 3,
    "take": 4,
    "endless": 3,
    "external": 3,
    "external_steps": 2,
    "smx": 3,
    "two_detectors": 3,
}
#: Where in the life of an acquisition it goes wrong; "any" is a random time after the scan began.
STAGES = {"prepare": 3, "start": 3, "trigger": 3, "reading": 4, "closing": 3, "publishing": 2, "any": 4}
#: What goes wrong, how often it is drawn, and how soon the scan must be over after it [s].
TROUBLE = {
    "ctrl_c": (30, 3.0),
    "ctrl_c_twice": (6, 3.0),
    "kill_receiver": (10, 6.0),
    "kill_control": (6, 6.0),
    "kill_publisher": (7, 6.0),
    "kill_access": (5, 6.0),
    "freeze_receiver": (7, 8.0),
    "freeze_control": (3, 8.0),
    "freeze_publisher": (3, 8.0),
    "mute_receiver": (1, 18.0),  # start, stop and reset each wait 5 s for it
    "cut_redis": (6, 6.0),
    "pause_redis": (5, 8.0),
    "disk_full": (7, 6.0),
    "directory_gone": (5, 6.0),
    "detector_fails": (3, 6.0),
}
#: Scans that only an end from outside ends: too few pulses come, or none.
ENDLESS = ("endless", "external", "external_steps")
#: Scans whose images are triggered one by one by the scan; elsewhere that stage is the arrival of images.
TRIGGERED = ("ct", "loopscan", "ascan", "two_detectors")
#: Receivers of the detectors of session `tests`.
RECEIVERS = {"sim1": 1, "simulator": 2, "sim3": 3}


@dataclass(frozen=True)
class Experiment:
    """One scan and its trouble: at ``stage``, ``delay_s`` after it, for ``hold_s`` if it passes by itself.

    ``rank`` is the receiver that it meets, ``room`` the bytes that are left on a full disk; ``recover`` is whether
    `det.recover` is called before the next scan.
    """

    number: int
    scan: str
    detectors: tuple[str, ...]
    saved: bool
    trouble: str
    stage: str
    delay_s: float
    hold_s: float
    rank: int
    room: int
    recover: bool
    pulses: bool

    @property
    def stopped_first(self) -> bool:
        """The scan must be ended by Ctrl-C for its last stages to come."""
        return self.scan in ENDLESS and self.stage in ("closing", "publishing")

    @property
    def limit_s(self) -> float:
        """The scan is over so soon after the trouble has passed."""
        return TROUBLE[self.trouble][1]

    def __str__(self) -> str:
        where = f"{self.stage} + {self.delay_s * 1000:.0f} ms"
        return f"{self.number}: {self.trouble} in {self.scan} of {'+'.join(self.detectors)} at {where}"


def experiment(seed: int, number: int) -> Experiment:
    """Experiment ``number`` of a series; the same whatever is run before it."""
    draw = random.Random(f"{seed}/{number}")
    scan = _drawn(draw, SCANS)
    trouble = _drawn(draw, {name: weight for name, (weight, _) in TROUBLE.items()})
    stage = _drawn(draw, STAGES)
    names = ("sim1", "simulator") if scan == "two_detectors" else (draw.choice(list(RECEIVERS)),)
    if stage == "trigger" and scan not in TRIGGERED:
        stage = "reading"
    needs_file = trouble in ("disk_full", "directory_gone")
    return Experiment(
        number=number,
        scan=scan,
        detectors=names,
        saved=draw.random() < 0.7 or needs_file,
        trouble=trouble,
        stage=stage,
        delay_s=draw.random() * 0.8 if stage == "any" else draw.choice([0.0, draw.random() * 0.06]),
        hold_s=0.2 + draw.random(),
        rank=draw.randrange(RECEIVERS[names[0]]),
        room=draw.randrange(100, 60_000),
        recover=draw.random() < 0.5,
        pulses=scan in ENDLESS[1:] and draw.random() < 0.6,
    )


def _drawn(draw: random.Random, weights: dict[str, int]) -> str:
    return draw.choices(list(weights), list(weights.values()))[0]
