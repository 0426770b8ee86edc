"""Which frames of a source are saved: the others keep their place as holes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lima2_bliss.contract import FrameFlags, FrameMeta
from lima2_bliss.contract.parameters import Veto
from lima2_receivers.engine.veto import FrameSelector


class Held:
    """Something to hold, that knows how often it was released."""

    def __init__(self, number):
        self.data = number
        self.released = 0

    def retain(self):
        return self

    def release(self):
        self.released += 1


def select(veto, hits, holes=()):
    """(kept indices, [(index, flags) passed on], selector, holders) for frames whose hit flags are ``hits``."""
    passed = []
    selector = FrameSelector(veto, lambda holder, meta: passed.append((holder, meta)))
    holders = {}
    for number, hit in enumerate(hits):
        holder = None if number in holes else holders.setdefault(number, Held(number))
        flags = FrameFlags.LOST if number in holes else FrameFlags.GOOD
        selector.put(holder, FrameMeta(number, number, flags=flags, hit=hit))
    selector.flush()
    kept = [meta.index for holder, meta in passed if holder is not None]
    return kept, [(meta.index, meta.flags) for _, meta in passed], selector, holders


def test_hits_are_kept_and_the_others_leave_marked_holes():
    kept, passed, selector, holders = select(Veto(save="hits"), [False, True, False, True])
    assert kept == [1, 3]
    assert passed == [(0, 16), (1, 0), (2, 16), (3, 0)]
    assert selector.vetoed == 2
    assert [holders[number].released for number in range(4)] == [1, 0, 1, 0]  # kept ones belong to who saves them


def test_all_passes_everything_on_at_once():
    seen = []
    selector = FrameSelector(Veto(keep_before=5), lambda holder, meta: seen.append(meta.index))
    selector.put(Held(0), FrameMeta(0, 0, hit=False))
    assert seen == [0]


@pytest.mark.parametrize(
    ("veto", "expected"),
    [
        (Veto(save="none"), []),
        (Veto(save="every_nth", every=3), [0, 3, 6, 9]),
        (Veto(save="hits", every=4), [0, 4, 5, 8]),
        (Veto(save="hits", keep_before=2), [3, 4, 5]),
        (Veto(save="hits", keep_after=3), [5, 6, 7, 8]),
        (Veto(save="hits", keep_before=9, keep_after=9), list(range(11))),
    ],
)
def test_what_is_kept_around_one_hit(veto, expected):
    assert select(veto, [number == 5 for number in range(11)])[0] == expected


def test_a_lost_frame_stays_a_lost_frame():
    _, passed, selector, _ = select(Veto(save="hits"), [False, None, True], holes={1})
    assert passed[1] == (1, FrameFlags.LOST)
    assert selector.vetoed == 1


@settings(max_examples=60, deadline=None)
@given(
    hits=st.lists(st.booleans(), max_size=40),
    before=st.integers(0, 5),
    after=st.integers(0, 5),
    every=st.integers(0, 6),
)
def test_every_frame_comes_out_once_in_order_and_only_wanted_ones_have_pixels(hits, before, after, every):
    veto = Veto(save="hits", keep_before=before, keep_after=after, every=every)
    kept, passed, selector, _ = select(veto, hits)
    wanted = [
        number
        for number in range(len(hits))
        if any(hits[max(number - after, 0) : number + before + 1]) or (every and number % every == 0)
    ]
    assert kept == wanted
    assert [index for index, _ in passed] == list(range(len(hits)))
    assert selector.vetoed == len(hits) - len(wanted)


def test_every_nth_needs_its_number():
    with pytest.raises(ValidationError, match="every >= 1"):
        Veto(save="every_nth")
