"""Plugins come from entry points, and one that is missing or broken is named."""

from __future__ import annotations

import sys

import pytest

from lima2_bliss.contract import ParameterError
from lima2_receivers.engine import load_detector, load_pipelines

MODULE = """
from lima2_bliss.contract.parameters import AcquisitionParameters, LegacyParameters
from lima2_receivers.engine.plugin import DetectorPlugin, PipelineClass
PLUGIN = DetectorPlugin("Mine", "1", AcquisitionParameters, None, None)
PIPELINE = PipelineClass("mine", "LimaProcessingMine", "1", LegacyParameters, None, None)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package of entry points: ``installed(group, name, value)``."""

    def install(group: str, name: str, value: str) -> None:
        info = tmp_path / f"{name}_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")

    (tmp_path / "my_detector_plugin.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    sys.modules.pop("my_detector_plugin", None)


def test_a_detector_of_another_package_is_found(installed):
    installed("lima2_receivers.detectors", "mine", "my_detector_plugin:PLUGIN")
    assert load_detector("mine").name == "Mine"


def test_an_unknown_detector_is_refused_with_those_that_are_installed():
    with pytest.raises(ParameterError, match=r"'nope' is not installed; installed: .*simulator"):
        load_detector("nope")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no_such_module:PLUGIN", "cannot be loaded: ModuleNotFoundError"),
        ("my_detector_plugin:PIPELINE", "is a PipelineClass, not a DetectorPlugin"),
    ],
)
def test_a_broken_detector_is_named(installed, value, text):
    installed("lima2_receivers.detectors", "broken", value)
    with pytest.raises(ParameterError, match=f"'broken'.*{text}"):
        load_detector("broken")


def test_a_broken_pipeline_is_named(installed):
    installed("lima2_receivers.pipelines", "aaa", "no_such_module:PIPELINE")
    with pytest.raises(ParameterError, match=r"'aaa' \(no_such_module:PIPELINE\) cannot be loaded"):
        load_pipelines()
