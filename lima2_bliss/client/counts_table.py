"""Exact counts of an acquisition, one number per receiver, for scan files and master files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lima2_bliss.client.status import ReceiverStatus

#: What each receiver counts, in the order in which a frame meets it.
_COUNTED = ("received", "lost", "overrun", "processed", "invalid", "saved", "vetoed")


def counts_table(receivers: Sequence[ReceiverStatus]) -> dict[str, Any]:
    """NXcollection of arrays, an item per receiver in rank order; ``name`` says which receiver it is.

    ``received`` + ``lost`` are the frames that came or should have, ``processed`` + ``invalid`` the images made of
    them; ``saved`` are places in files, of which ``vetoed`` are without pixels on purpose.
    """
    table: dict[str, Any] = {"@NX_class": "NXcollection", "name": [each.name for each in receivers]}
    table |= {what: [int(getattr(each.counts, what)) for each in receivers] for what in _COUNTED}
    kinds = sorted({name for each in receivers for name in each.pipeline.intake})
    table |= {kind: [int(each.pipeline.intake.get(kind, 0)) for each in receivers] for kind in kinds}
    return table
