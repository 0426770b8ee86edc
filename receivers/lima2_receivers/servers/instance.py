"""One server process: which device it serves, read from the Tango database, and how it runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tango
from tango.server import Device, run

from lima2_bliss.contract import ConnectionLostError, Lima2Error, ParameterError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instance:
    """A server instance and its one device, as the database has them."""

    server: str
    name: str
    device: str
    tango_class: str
    properties: Mapping[str, tuple[str, ...]]
    database: tango.Database

    def text(self, key: str, default: str | None = None) -> str:
        """A property as one text; without ``default`` it must be there."""
        values = self.properties.get(key.lower())
        if values:
            return "\n".join(values)
        if default is None:
            raise ParameterError(f"device {self.device} has no property {key!r}; add it to its configuration")
        return default

    def number(self, key: str, default: int | None = None) -> int:
        """A property as an integer."""
        text = self.text(key, None if default is None else str(default))
        try:
            return int(text)
        except ValueError:
            raise ParameterError(f"property {key!r} of device {self.device} is {text!r}; give an integer") from None

    def flag(self, key: str, default: bool) -> bool:
        """A property that is true or false."""
        text = self.text(key, str(default)).strip().lower()
        if text not in ("true", "false", "1", "0"):
            raise ParameterError(f"property {key!r} of device {self.device} is {text!r}; give true or false")
        return text in ("true", "1")

    def texts(self, key: str) -> tuple[str, ...]:
        """A property that is a list."""
        return self.properties.get(key.lower(), ())

    def plain(self) -> dict[str, str]:
        """All properties as texts, for plugins."""
        return {key: "\n".join(values) for key, values in self.properties.items()}

    @property
    def domain(self) -> str:
        """First part of the device's name."""
        return self.device.split("/", 1)[0]


def find_instance(server: str, name: str, run_time_classes: Sequence[str] = ()) -> Instance:
    """The instance's one device. Devices of ``run_time_classes`` left by a killed process are removed."""
    try:
        database = tango.Database()
        listed = list(database.get_device_class_list(f"{server}/{name}").value_string)
        devices = list(zip(listed[::2], listed[1::2], strict=True))
        own = []
        for device, tango_class in devices:
            if tango_class in run_time_classes:
                logger.info("removing %s, left by a process that was killed", device)
                database.delete_device(device)
            elif tango_class.lower() != "dserver":
                own.append((device, tango_class))
        if len(own) != 1:
            found = ", ".join(device for device, _ in own) or "none"
            raise ParameterError(
                f"server {server}/{name} must have one device in the Tango database "
                f"{database.get_db_host()}:{database.get_db_port()}; it has {found}"
            )
        device, tango_class = own[0]
        keys = list(database.get_device_property_list(device, "*").value_string)
        values = database.get_device_property(device, keys) if keys else {}
    except tango.DevFailed as failure:
        raise ConnectionLostError(
            f"the Tango database does not answer ({failure.args[0].desc.strip().splitlines()[0]}); "
            "start it, and set TANGO_HOST"
        ) from None
    properties = {key.lower(): tuple(str(item) for item in value) for key, value in values.items()}
    return Instance(server, name, device, tango_class, properties, database)


def check_class(instance: Instance, expected: str) -> None:
    """`ParameterError` when the database gives the device another class than its detector has."""
    if instance.tango_class != expected:
        raise ParameterError(
            f"device {instance.device} has class {instance.tango_class} in the Tango database; "
            f"with detector {instance.text('detector')!r} it must be {expected}"
        )


def serve(instance: Instance, classes: Sequence[type[Device]], arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT."""

    def started() -> None:
        logger.info("serving %s", instance.device)

    run(tuple(classes), args=[instance.server, instance.name, *arguments], post_init_callback=started)


def run_main(server: str, serve_instance: Callable[[str, Sequence[str]], None]) -> None:
    """``main`` of a server: the instance's name is the first argument, further ones go to Tango."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(f"usage: {sys.argv[0].rsplit('/', 1)[-1]} INSTANCE [Tango options]\nServes {server}/INSTANCE.")
    try:
        serve_instance(sys.argv[1], sys.argv[2:])
    except Lima2Error as error:
        sys.exit(f"{server}/{sys.argv[1]}: {error}")
