"""Beacon YAML of a detector with N receivers on this host: its Tango servers and its BLISS object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lima2_bliss.contract import ParameterError

#: Classes of the objects in a session, by detector plugin; of others it is `Lima2Detector`.
CONTROLLERS = {"jungfrau": "Jungfrau"}


def tango_servers(name: str, receivers: int, detector: str = "simulator", domain: str = "id00") -> list[dict[str, Any]]:
    """Entries for ``tango/NAME.yml``: control, receivers, access and publisher of a detector."""
    if receivers < 1:
        raise ParameterError(f"{receivers} receivers; at least 1 is needed")
    plugin = detector.capitalize()
    receiver_names = [f"{domain}/limareceiver/{name}{rank + 1}" for rank in range(receivers)]
    control = f"{domain}/limacontrol/{name}"

    def entry(server: str, instance: str, device: str, cls: str, **properties: Any) -> dict[str, Any]:
        described = {"tango_name": device, "class": cls, "properties": properties}
        return {"server": server, "personal_name": instance, "device": [described]}

    return [
        entry("lima2_control", name, control, f"Lima{plugin}Control", detector=detector, receivers=receiver_names),
        *(
            entry(
                "lima2_receiver",
                f"{name}_{rank + 1}",
                device,
                f"Lima{plugin}Receiver",
                detector=detector,
                rank=rank,
                nb_receivers=receivers,
            )
            for rank, device in enumerate(receiver_names)
        ),
        entry(
            "lima2_access", name, f"{domain}/limaimage/{name}", "LimaImage", control=control, receivers=receiver_names
        ),
        entry(
            "lima2_publisher",
            name,
            f"{domain}/limapublisher/{name}",
            "LimaPublisher",
            control=control,
            receivers=receiver_names,
        ),
    ]


def bliss_object(
    name: str, receivers: int, detector: str = "simulator", domain: str = "id00", **extra: Any
) -> dict[str, Any]:
    """Entry for a beacon YAML file that makes the BLISS controller of such a detector."""
    return {
        "plugin": "generic",
        "package": "lima2_bliss.controller",
        "class": CONTROLLERS.get(detector, "Lima2Detector"),
        "name": name,
        "control": f"{domain}/limacontrol/{name}",
        "receivers": [f"{domain}/limareceiver/{name}{rank + 1}" for rank in range(receivers)],
        "access": f"{domain}/limaimage/{name}",
        "publisher": f"{domain}/limapublisher/{name}",
        **extra,
    }


def write_detector(config: Path, name: str, receivers: int, detector: str = "simulator", **extra: Any) -> None:
    """Write ``tango/NAME.yml`` and ``detectors/NAME.yml`` into a configuration tree."""
    yaml = YAML()
    yaml.default_flow_style = False
    for folder, content in (
        ("tango", tango_servers(name, receivers, detector)),
        ("detectors", [bliss_object(name, receivers, detector, **extra)]),
    ):
        path = config / folder / f"{name}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            yaml.dump(content, file)
