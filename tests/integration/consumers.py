"""Starts other processes that read scans with blissdata 1.1 or 2.4, and takes what they print."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.stack import Stack

HERE = Path(__file__).parent
BLISSDATA2 = HERE.parents[1] / ".venv-blissdata2/bin/python"
PLUGIN = "--plugin"
READERS = "consumer_readers.py"


def checksum(array: np.ndarray) -> int:
    """Of an array's pixels, as the consumers give it."""
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


@contextmanager
def following(
    python: Path, script: str, stack: Stack, *options: str, mode: str = "follow"
) -> Iterator[Callable[[], dict[str, Any]]]:
    """A consumer that follows the next scan; call what is given for what it has read."""
    process = subprocess.Popen(
        [str(python), str(HERE / script), *options, mode, "simulator"],
        env=environment(stack, options, script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate(timeout=10)[1]

        def result() -> dict[str, Any]:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            return dict(json.loads(out))

        yield result
    finally:
        process.kill()
        process.wait(10)


def finished(python: Path, script: str, stack: Stack, key: str, *options: str, mode: str = "finished") -> Any:
    """What a consumer reads of a scan that has ended."""
    done = subprocess.run(
        [str(python), str(HERE / script), *options, mode, key, "simulator"],
        env=environment(stack, options, script),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environment(stack: Stack, options: Sequence[str], script: str = "") -> dict[str, str]:
    """Variables of a consumer: it sees this package only if it is to use its plugin or its readers."""
    env = {name: value for name, value in stack.environment().items() if name != "PYTHONPATH"}
    return env | ({"PYTHONPATH": str(HERE.parents[1])} if PLUGIN in options or script == READERS else {})
