"""Which detector a control has, by the properties of its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.backend import Backend
from lima2_receivers.detectors.jungfrau.params import JungfrauSettings
from lima2_receivers.detectors.jungfrau.simulated import SimulatedDetector


def choose_backend(properties: Mapping[str, str], changed: Callable[[], None]) -> Backend:
    """The real detector when there is a property `slsdet_hosts` or `slsdet_config`, else a simulated one.

    ``changed`` is called when a detector knows by itself that something happened.
    """
    if any(properties.get(name, "").strip() for name in ("slsdet_hosts", "slsdet_config")):
        from lima2_receivers.detectors.jungfrau.sls import SlsDetector

        return SlsDetector(properties)
    return SimulatedDetector(changed, properties.get("serial_number") or "SIM-JF-0001")


def default_settings(properties: Mapping[str, str]) -> JungfrauSettings:
    """What is assumed of the detector before the first parameters come: properties `module_rows`, `module_columns`."""
    grid = {name: properties.get(name, "1") for name in ("module_rows", "module_columns")}
    return parse(JungfrauSettings, {"geometry": {"module_rows": 1, "module_columns": 1} | _whole(grid)}, "properties")


def _whole(texts: Mapping[str, str]) -> dict[str, object]:
    return {name: int(text) if text.strip().isdecimal() else text for name, text in texts.items()}
