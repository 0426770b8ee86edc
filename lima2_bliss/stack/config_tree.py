"""The beacon configuration of the stack: copied from a source tree, read for the detectors that it names."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lima2_bliss.contract import NotAvailableError, ParameterError

#: Tango server names of ours and the console script that runs each, in the order of starting.
SERVER_SCRIPTS = {
    "lima2_receiver": "lima2-receiver",
    "lima2_access": "lima2-access",
    "lima2_publisher": "lima2-publisher",
    "lima2_control": "lima2-control",
}
#: What beacon, Tango and BLISS write into the tree while it is in use, and that a source tree must not bring along.
_RUNTIME_FILES = ("*.rdb", "*.pyc", "__pycache__")


#: Asks for all detectors of a configuration.
ALL = "all"


@dataclass(frozen=True)
class DetectorServer:
    """One of our server processes: Tango server name, instance, its device names, and the detector it belongs to."""

    server: str
    instance: str
    devices: tuple[str, ...] = field(default=())
    detector: str = ""

    @property
    def name(self) -> str:
        return f"{self.server}/{self.instance}"

    @property
    def script(self) -> str:
        return SERVER_SCRIPTS[self.server]


def default_config() -> Path:
    """The configuration that comes with lima2-bliss: inside the package, or beside it in a checkout."""
    here = Path(__file__).resolve()
    for candidate in (here.parent / "beamline_config", here.parents[2] / "beamline_config"):
        if (candidate / "__init__.yml").is_file():
            return candidate
    raise NotAvailableError("beamline_config is missing from the installation; give one with --config DIR")


def copy_config(source: Path, target: Path) -> None:
    """Bring ``target`` up to date with ``source``; what beacon keeps there (settings, run-time devices) stays."""
    if not (source / "__init__.yml").is_file():
        raise ParameterError(f"{source} is no beacon configuration (no __init__.yml); give one with --config DIR")
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_RUNTIME_FILES))


def detector_servers(config: Path) -> list[DetectorServer]:
    """Our servers named in the Tango part of a configuration, in the order of starting; control comes last.

    Those of detector NAME are in ``tango/NAME.yml``.
    """
    found = []
    for path in sorted((config / "tango").glob("*.yml")):
        for entry in _entries(path):
            if entry.get("server") in SERVER_SCRIPTS:
                devices = tuple(
                    device["tango_name"]
                    for device in entry.get("device", ())
                    if "/limaprocessing/" not in device["tango_name"]
                )
                found.append(DetectorServer(entry["server"], str(entry["personal_name"]), devices, path.stem))
    order = list(SERVER_SCRIPTS)
    return sorted(found, key=lambda server: (order.index(server.server), server.instance))


def detectors(config: Path) -> list[str]:
    """Names of the detectors that have servers in a configuration."""
    return sorted({server.detector for server in detector_servers(config)})


def chosen_detectors(config: Path, asked: Collection[str] = ()) -> list[str]:
    """The detectors to run: those asked for (`ALL`: all), or those that some session has among its objects.

    A session without ``config-objects`` has all. `NotAvailableError` names what there is for one that is not.
    """
    known = detectors(config)
    unknown = sorted(set(asked) - {*known, ALL})
    if unknown:
        raise NotAvailableError(f"no detector {', '.join(unknown)}; there are: {', '.join(known) or 'none'}")
    if ALL in asked:
        return known
    if asked:
        return sorted(set(asked))
    loaded = [session.get("config-objects", known) for session in _sessions(config)] or [known]
    return [name for name in known if any(name in objects for objects in loaded)]


def sessions(config: Path) -> list[str]:
    """Names of the BLISS sessions of a configuration."""
    return [str(session["name"]) for session in _sessions(config)]


def _sessions(config: Path) -> list[dict[str, Any]]:
    paths = sorted((config / "sessions").glob("*.yml"))
    return [entry for path in paths for entry in _entries(path) if entry.get("class") == "Session"]


def _entries(path: Path) -> list[dict[str, Any]]:
    """The mappings of a YAML file that holds one or a list of them."""
    content = YAML(typ="safe").load(path.read_text()) or []
    return [entry for entry in (content if isinstance(content, list) else [content]) if isinstance(entry, dict)]
