"""The command `lima2-smx-tune`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lima2_bliss.contract import Lima2Error, ParameterError
from lima2_receivers.pipelines.maps import load_vector
from lima2_receivers.tuning.comparison import MAX_FRAMES, tune
from lima2_receivers.tuning.frame_stack import open_stack
from lima2_receivers.tuning.grid import parse_assignments
from lima2_receivers.tuning.origin import starting_parameters

NAME = "lima2-smx-tune"

DESCRIPTION = """\
Try settings of the SMX pipeline on saved frames. For each combination it prints hits, spots, pixels kept, reduction
and time. After a scan with the SMX pipeline, its master file of dense frames is enough:

  lima2-smx-tune scan_master.h5 --set cutoff_peak=3,4,5 --set min_spots=5,10
"""

EPILOG = """\
Parameters have their names of the pipeline: cutoff_pick or fai.cutoff_pick, cutoff_peak, connected, min_spots, noise,
error_model, backend, ... A wrong name is answered with all of them. Lost and vetoed frames are left out.
"""

RANGE = re.compile(r"(\d*):(\d*)(?::(\d*))?")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `lima2-smx-tune`: errors as one line, exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except (Lima2Error, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, "\n")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        NAME, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="dense frames: HDF5 (a master, or FILE::/path of any stack) or .npy (n, y, x)")
    add("--set", metavar="NAME=V,V,...", action="append", default=[], help="values to try; may be given many times")
    add(
        "--params", metavar="JSON", type=Path, help="file with all other parameters; default: those of the frames' file"
    )
    add("--poni", metavar="PONI", help="geometry to use instead of the parameters'")
    add("--mask", metavar="FILE", help="mask to use instead of the parameters'; '' for none")
    add("--frames", metavar="START:STOP:STEP", default="::", help="which frames, e.g. 0:1000:5; default: all")
    add(
        "--max-frames", metavar="N", type=int, default=MAX_FRAMES,
        help="of more frames, N are used, evenly spread; default: %(default)s",
    )  # fmt: skip
    add("--truth", metavar="FILE", help="1 or 0 for each frame of FILE, hit or not: .npy, or FILE.h5::/path")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _run(given: argparse.Namespace) -> None:
    first, stop, every = _range(given.frames)
    grid = parse_assignments(given.set)
    with open_stack(given.file) as stack, starting_parameters(stack, given.params, given.poni, given.mask) as start:
        report = tune(
            stack,
            start,
            grid,
            first=first,
            stop=stop,
            every=every,
            max_frames=given.max_frames,
            truth=None if given.truth is None else load_vector(given.truth, "truth"),
            progress=_progress,
        )
    print(report.to_json() if given.json else report.table())


def _range(text: str) -> tuple[int, int | None, int]:
    found = RANGE.fullmatch(text)
    if not found or found[3] == "0":
        raise ParameterError(f"--frames {text}: write START:STOP or START:STOP:STEP, e.g. 0:1000:5; each may be empty")
    first, stop, every = found.groups()
    return int(first or 0), int(stop) if stop else None, int(every or 1)


def _progress(done: int, total: int) -> None:
    """On a terminal, one line that goes away."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} settings\033[K" if done < total else "\r\033[K")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
