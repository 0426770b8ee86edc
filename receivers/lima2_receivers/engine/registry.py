"""Detectors and pipelines that are installed, from Python entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_receivers.engine.plugin import DetectorPlugin, PipelineClass

DETECTORS = "lima2_receivers.detectors"
PIPELINES = "lima2_receivers.pipelines"


def load_detector(name: str) -> DetectorPlugin:
    """The detector plugin that is registered as ``name``."""
    installed = {entry.name: entry for entry in entry_points(group=DETECTORS)}
    if name not in installed:
        raise ParameterError(
            f"detector {name!r} is not installed; installed: {', '.join(sorted(installed)) or 'none'} "
            f"(entry point group {DETECTORS})"
        )
    return _load(installed[name], DetectorPlugin)


def load_pipelines() -> dict[str, PipelineClass]:
    """All installed pipelines by Tango class name."""
    pipelines: dict[str, PipelineClass] = {}
    for entry in sorted(entry_points(group=PIPELINES), key=lambda entry: entry.name):
        pipeline = _load(entry, PipelineClass)
        if pipeline.tango_class in pipelines:
            raise ParameterError(f"two installed pipelines have the class name {pipeline.tango_class}; uninstall one")
        pipelines[pipeline.tango_class] = pipeline
    return pipelines


def _load(entry: EntryPoint, expected: type) -> Any:
    try:
        plugin = entry.load()
    except Exception as error:
        raise ParameterError(
            f"plugin {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(plugin, expected):
        raise ParameterError(
            f"plugin {entry.name!r} ({entry.value}) is a {type(plugin).__name__}, not a {expected.__name__}"
        )
    return plugin
