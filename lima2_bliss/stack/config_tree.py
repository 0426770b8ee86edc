"""The beacon configuration of the stack: copied from a source tree, read for the detectors that it names."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass(frozen=True)
class DetectorServer:
    """One of our server processes: Tango server name, instance and its device names."""

    server: str
    instance: str
    devices: tuple[str, ...] = field(default=())

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
    """Our servers named in the Tango part of a configuration, in the order of starting; control comes last."""
    yaml = YAML(typ="safe")
    found = []
    for path in sorted((config / "tango").glob("*.yml")):
        content = yaml.load(path.read_text()) or []
        for entry in content if isinstance(content, list) else [content]:
            if isinstance(entry, dict) and entry.get("server") in SERVER_SCRIPTS:
                devices = tuple(
                    device["tango_name"]
                    for device in entry.get("device", ())
                    if "/limaprocessing/" not in device["tango_name"]
                )
                found.append(DetectorServer(entry["server"], str(entry["personal_name"]), devices))
    order = list(SERVER_SCRIPTS)
    return sorted(found, key=lambda server: (order.index(server.server), server.instance))


def sessions(config: Path) -> list[str]:
    """Names of the BLISS sessions of a configuration."""
    yaml = YAML(typ="safe")
    names = []
    for path in sorted((config / "sessions").glob("*.yml")):
        content = yaml.load(path.read_text()) or []
        for entry in content if isinstance(content, list) else [content]:
            if isinstance(entry, dict) and entry.get("class") == "Session":
                names.append(str(entry["name"]))
    return names
