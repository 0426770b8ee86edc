"""Parameters to start from: those of a JSON file, or those that a file of ours says its frames were taken with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import SmxParameters, parse
from lima2_receivers.tuning.frame_stack import FrameStack

SMX_CLASS = SmxParameters.model_fields["class_name"].default

HOW = "give --poni geometry.poni, or --params with the parameters as JSON"


@contextmanager
def starting_parameters(
    stack: FrameStack, params: Path | None = None, poni: str | None = None, mask: str | None = None
) -> Iterator[SmxParameters]:
    """Parameters of the pipeline for the frames of ``stack``; `ParameterError` when there is no geometry.

    From the JSON file ``params``, else from the frames' own file, else the defaults; ``poni`` and ``mask`` replace what
    they say. A PONI file that is gone since the frames were taken is made again, for as long as the context lasts,
    from the geometry in the frames' file.
    """
    content = _from_json(params) if params else _from_frames(stack, poni is not None)
    fai = dict(content.get("fai") or {})
    if poni is not None:
        fai |= {"poni_path": poni, "csr_path": "", "radius1d_path": "", "radius2d_path": ""}
    if mask is not None:
        fai["mask_path"] = mask
    processing = parse(SmxParameters, {**content, "fai": fai}, "parameters")
    if not (processing.fai.poni_path or processing.fai.radius1d_path or processing.fai.radius2d_path):
        raise ParameterError(f"no geometry is known for {stack.name}; {HOW}")
    lost = processing.fai.poni_path and not Path(processing.fai.poni_path).exists()
    if poni is None and lost and stack.poni:
        with TemporaryDirectory(prefix="lima2_tune_") as place:
            again = Path(place) / Path(processing.fai.poni_path).name
            again.write_text(_one_key_per_line(stack.poni))
            processing.fai.poni_path = str(again)
            yield processing
        return
    yield processing


def _from_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ParameterError(f"--params: {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ParameterError(f"--params: {path} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f'--params: {path} holds no object with parameters, e.g. {{"fai": {{...}}}}')
    return content


def _from_frames(stack: FrameStack, has_geometry: bool) -> dict[str, Any]:
    try:
        content = json.loads(stack.processing or "{}")
    except ValueError:
        content = {}
    name = content.get("class_name")
    if name == SMX_CLASS or (name is None and "fai" in content):
        return content
    if not has_geometry:
        known = f"was taken with {name}" if name else "says nothing of parameters"
        raise ParameterError(f"{stack.name} {known}, and so has no geometry; {HOW}")
    return {}


def _one_key_per_line(text: str) -> str:
    """A geometry in one line of JSON is no PONI file for its readers."""
    try:
        return json.dumps(json.loads(text), indent=1)
    except ValueError:
        return text
