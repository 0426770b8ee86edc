"""What the session asks of control, and how its entry in the configuration is read."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from lima2_bliss.contract import ConnectionLostError
from lima2_bliss.controller.configuration import configuration
from lima2_bliss.controller.connection import Connection
from lima2_bliss.controller.detector_settings import flatten
from lima2_bliss.controller.settings_models import (
    AcquisitionSettings,
    ProcessingSettings,
    SavingSettings,
    settings_defaults,
)
from lima2_bliss.stack import default_config


class FakeControl:
    def __init__(self, commands: list[str]) -> None:
        self.commands = commands
        self.asked: list[Any] = []

    def call(self, name: str) -> list[str]:
        return self.commands

    def command(self, name: str, argument: Any) -> Any:
        self.asked.append(argument)
        if not argument:
            raise ConnectionLostError("gone")
        return {"x": 1030, "y": 514 * argument["rows"]}


def connected(commands: list[str]) -> tuple[Connection, FakeControl]:
    made, control = Connection("c", ["r"], "a", "p"), FakeControl(commands)
    made.client = made._control = control  # type: ignore[assignment]
    return made, control


def test_control_is_asked_for_the_size_once_for_the_same_parameters() -> None:
    made, control = connected(["image_shape"])
    assert [made.shape({"rows": rows}) for rows in (1, 2, 1)] == [(514, 1030), (1028, 1030), (514, 1030)]
    assert made.shape({}) is None  # it does not answer
    assert len(control.asked) == 3
    made.forget()
    made.shape({"rows": 1})
    assert len(control.asked) == 4


def test_other_detectors_are_not_asked() -> None:
    made, control = connected(["pulse"])
    assert made.shape({"rows": 1}) is None
    assert control.asked == []


def test_the_shipped_objects_are_accepted() -> None:
    for name in ("jungfrau", "jungfrau4m"):
        (entry,) = YAML(typ="safe").load((default_config() / "detectors" / f"{name}.yml").read_text())
        defaults = configuration(entry).defaults
        settings_defaults(ProcessingSettings, defaults.processing)
        settings_defaults(SavingSettings, defaults.saving)
        settings_defaults(AcquisitionSettings, defaults.acquisition)
        assert dict(flatten(defaults.detector))["geometry.module_rows"] in (1, 4)
