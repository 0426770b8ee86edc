"""`DetectorData` in other processes, with blissdata 1.1 and 2.4: live, through cut connections, and after trimming."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import pytest
from consumers import BLISSDATA2, READERS, checksum, finished, following

from lima2_bliss.stack import Stack

pytestmark = pytest.mark.stack

assert hdf5plugin.FILTERS  # imported for its filters

HITS_SCAN = """
import json
detector = config.get("simulator")
detector.reset_settings()
detector.roi_counters.clear()
detector.detector.update({
    "size.x": 320, "size.y": 256, "generator.type": "diffraction", "nb_prefetch_frames": 8, "stamp_frame_number": True,
})
with open(data_path + "/a.poni", "w") as poni:
    poni.write(detector.command("poni", {"size": {"x": 320, "y": 256}, "generator": {"type": "diffraction"}}))
detector.processing.pipeline = "smx"
detector.smx.update({"poni": data_path + "/a.poni", "bins": 100})
scan = detector.take(80, 0.02)
hits = scan.streams["simulator:is_hit"][:]
print(json.dumps({
    "key": scan._scan_data.key,
    "master": str(detector.last_outcome.files["frame"]),
    "hits": [index for index, is_hit in enumerate(hits) if is_hit],
    "nb_peaks": scan.streams["simulator:nb_peaks"][:].tolist(),
}))
detector.reset_settings()
"""


@dataclass(frozen=True)
class Hits:
    """A scan with hits, and what `DetectorData` reads of it with both versions of blissdata: live, and trimmed."""

    scan: dict[str, Any]
    live: list[dict[str, Any]]
    trimmed: list[dict[str, Any]]

    @cached_property
    def frames(self) -> list[list[int]]:
        """Index and checksum of each frame in the master file."""
        with h5py.File(self.scan["master"]) as master:
            return [[index, checksum(frame)] for index, frame in enumerate(master["entry_0000/measurement/data"])]


@pytest.fixture(scope="module")
def hits(
    stack: Stack, bliss_in: Callable[[Path], Callable[..., str]], tmp_path_factory: pytest.TempPathFactory
) -> Hits:
    """A scan with pipeline smx, two readers that follow it, and two that read what is left when Redis was trimmed."""
    run = bliss_in(tmp_path_factory.mktemp("hits"))
    pythons = (Path(sys.executable), BLISSDATA2)
    with ExitStack() as consumers:
        live = [consumers.enter_context(following(each, READERS, stack)) for each in pythons]
        scan = json.loads(run(HITS_SCAN).splitlines()[-1])
        read = [each() for each in live]
    trimmed = [finished(each, READERS, stack, scan["key"], mode="trimmed") for each in pythons]
    return Hits(scan, read, trimmed)


def test_frames_of_hits_are_followed_by_both_and_through_cut_connections(hits: Hits) -> None:
    expected = [hits.frames[index] for index in hits.scan["hits"]]
    assert len(expected) > 10
    assert [each["version"] for each in hits.live] == ["1.1.4", "2.4.5"]
    for read in hits.live:
        assert read["frames"] == expected
        assert read["cuts"] >= 1


def test_all_is_read_after_redis_was_trimmed(hits: Hits) -> None:
    for read in hits.trimmed:
        assert read["hits"] == hits.scan["hits"]
        assert read["frames"] == hits.frames
        assert read["of_hits"] == [hits.frames[index] for index in hits.scan["hits"][::-1]]
        assert read["one"] == hits.frames[3][1]
        assert read["nb_peaks"] == read["followed"] == hits.scan["nb_peaks"]
        assert read["spots"] == sum(hits.scan["nb_peaks"])
