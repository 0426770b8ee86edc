"""A consumer with the plugin of blissdata 2 comes late: images have left memory, and the master is not written yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import consumers
import pytest

from lima2_bliss.stack import Stack
from lima2_receivers.detectors.simulator import SimulatorParameters, expected_frame

pytestmark = pytest.mark.stack

SCAN = """
import json
detector = config.get("simulator")
detector.reset_settings()
detector.detector.update({"size.x": 320, "size.y": 256, "stamp_frame_number": True})
detector.processing.nb_frames_buffer = 4
detector.saving.frames_per_file = 5
scan = loopscan(250, 0.02, detector.counter_groups.images)
print(json.dumps(detector.last_acquisition.acquisition_parameters))
detector.reset_settings()
"""


def test_images_that_left_memory_are_read_from_receiver_files_while_the_scan_runs(
    stack: Stack, bliss_in: Callable[[Path], Callable[..., str]], tmp_path: Path
) -> None:
    run = bliss_in(tmp_path)
    python, script = consumers.BLISSDATA2, "consumer_blissdata2.py"
    with consumers.following(python, script, stack, consumers.PLUGIN, mode="late") as late:
        parameters = SimulatorParameters.model_validate(json.loads(run(SCAN).splitlines()[-1]))
        read = late()
    assert not read["ended"]
    assert read["points"] == [consumers.checksum(expected_frame(parameters, index)[0]) for index in range(5, 25)]
