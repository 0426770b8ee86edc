"""A detector that answers as slsdet does, without one: records what is set and called."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any


def _enum(name: str, members: str) -> Any:
    return enum.Enum(name, members)


class FakeJungfrau:
    """Modules of a detector. ``touched``: names of all attributes that were used; ``calls``: in order."""

    def __init__(self, package: FakeSlsdet, number: int) -> None:
        own = {
            "package": package,
            "number": number,
            "touched": set(),
            "calls": [],
            "values": {"nextframenumber": 1, "framecounter": 0, "serialnumber": [11, 12], "detsize": [0, 0]},
            "modules": 0,
            "destinations": {},
        }
        self.__dict__.update(own)
        self.values["status"] = package.runStatus.IDLE

    def __setattr__(self, name: str, value: Any) -> None:
        self.touched.add(name)
        self.calls.append((name, value))
        if name == "detsize" and self.modules:
            raise RuntimeError("Set the number of channels before setting hostname.")
        self.values[name] = value

    def __getattr__(self, name: str) -> Any:
        self.touched.add(name)
        if name in self.values:
            return self.values[name]
        if name == "module_geometry":
            return SimpleNamespace(x=self.values["detsize"][0] // 1024, y=self.values["detsize"][1] // 512)
        return lambda *arguments: self._call(name, *arguments)

    def _call(self, name: str, *arguments: Any) -> Any:
        self.calls.append((name, *arguments))
        error = self.package.errors.get(name)
        if error:
            raise RuntimeError(error)
        status = self.package.runStatus
        match name:
            case "setHostname":
                self.__dict__["modules"] = len(arguments[0])
            case "clearUDPDestinations":
                self.destinations.clear()
            case "loadParameters":
                for line in arguments[0]:
                    where, command, *words = line.split()
                    if command == "udp_dstlist":
                        self.destinations[where] = dict(word.split("=") for word in words)
            case "startDetector":
                waits = self.values["timing"] is self.package.timingMode.TRIGGER_EXPOSURE
                self.values["status"] = status.WAITING if waits else status.RUNNING
            case "stopDetector":
                self.values["status"] = status.STOPPED
        answers = {
            "size": self.modules,
            "getModuleId": [100 + module for module in range(self.modules)],
            "getChipVersion": [self.package.chip] * self.modules,
            "getNumberofUDPDestinations": [len(self.destinations) // max(self.modules, 1)] * self.modules,
            "getTemperature": [41] * self.modules,
        }
        return answers.get(name)


class FakeSlsdet:
    """Stands in for the package. ``errors``: what methods of the detector raise; ``made``: all detectors."""

    gainMode = _enum("gainMode", "DYNAMIC FORCE_SWITCH_G1 FORCE_SWITCH_G2 FIX_G1 FIX_G2")
    detectorSettings = _enum("detectorSettings", "GAIN0 HIGHGAIN0")
    speedLevel = _enum("speedLevel", "FULL_SPEED HALF_SPEED QUARTER_SPEED")
    timingMode = _enum("timingMode", "AUTO_TIMING TRIGGER_EXPOSURE")
    runStatus = _enum("runStatus", "IDLE ERROR WAITING RUN_FINISHED TRANSMITTING RUNNING STOPPED")
    dacIndex = _enum("dacIndex", "TEMPERATURE_ADC TEMPERATURE_FPGA")

    def __init__(self, chip: float = 1.0) -> None:
        self.chip = chip
        self.errors: dict[str, str] = {}
        self.made: list[FakeJungfrau] = []
        self.freed: list[int] = []

    def freeSharedMemory(self, number: int) -> None:
        self.freed.append(number)

    def Jungfrau(self, number: int) -> FakeJungfrau:
        self.made.append(FakeJungfrau(self, number))
        return self.made[-1]
