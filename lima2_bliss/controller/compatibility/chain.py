"""What of BLISS's scan engine is not for everyone to use, and we need all the same."""

from __future__ import annotations

from typing import Any

import gevent


def scan_greenlet() -> gevent.Greenlet | None:
    """The greenlet that runs the scan, seen from an acquisition object's ``start``; None when it cannot be told.

    The chain runs each ``start`` in a greenlet of its own, spawned by the greenlet that iterates the scan.
    """
    spawner = getattr(gevent.getcurrent(), "spawning_greenlet", None)
    greenlet = spawner() if spawner is not None else None
    if isinstance(greenlet, gevent.Greenlet) and greenlet.name == "chain-iterator-run":
        return greenlet
    return None


def scan_of_apply_parameters() -> Any:
    """The scan that is starting, seen from an acquisition object's ``apply_parameters``; None when it cannot be told.

    The chain iterator runs each ``apply_parameters`` in a greenlet of its own, and knows the chain, which knows the
    scan.
    """
    spawner = getattr(gevent.getcurrent(), "spawning_greenlet", None)
    greenlet = spawner() if spawner is not None else None
    iterator = getattr(getattr(greenlet, "_run", None), "__self__", None)
    return getattr(getattr(iterator, "acquisition_chain", None), "scan", None)


def add_device_below(scan: Any, acquisition_object: Any, name: str, metadata: dict[str, Any]) -> None:
    """Describe one more device, without channels, below that of an acquisition object; until the scan is prepared.

    blisswriter takes the first device of a chain that has others below it for motors, and its numbers for positions. If
    that would be this one, a device without channels is put before it.
    """
    info = scan._scan_info
    key = info._get_device_key_from_acq_obj(acquisition_object)
    device = info.get("devices", {}).get(key)
    if device is None:
        return
    info["devices"][f"{key}:{name}"] = {"name": name, "channels": [], "metadata": metadata}
    device.setdefault("triggered_devices", []).append(f"{key}:{name}")
    for chain in info.get("acquisition_chain", {}).values():
        if chain["devices"][:1] == [key]:
            first = f"{key}:lead"
            info["devices"][first] = {"name": "lead", "channels": [], "triggered_devices": [key], "metadata": {}}
            chain["devices"].insert(0, first)


def hardware_position(axis: Any) -> float:
    """User position of a motor as its controller has it now, also while it moves."""
    return float(axis.dial2user(axis._hw_position))
