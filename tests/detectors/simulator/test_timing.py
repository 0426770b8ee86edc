"""The arithmetic of exposures: trains, triggers, gates."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import StateError
from lima2_bliss.contract.parameters import Acquisition
from lima2_receivers.detectors.simulator.timing import ENDLESS, ExposurePlan, Train

MS = 1_000_000


def plan(mode="external", nb_frames=10, per_trigger=1, expo_us=10_000, latency_us=1_000):
    return ExposurePlan(
        Acquisition(
            nb_frames=nb_frames,
            expo_time=expo_us,
            latency_time=latency_us,
            trigger_mode=mode,
            nb_frames_per_trigger=per_trigger,
        )
    )


@given(
    first=st.integers(0, 100),
    count=st.integers(1, 40),
    per_trigger=st.integers(1, 7),
    exposure=st.integers(1, 50),
    dead=st.integers(0, 20),
    pause=st.integers(0, 100),
    start=st.integers(0, 1000),
    now=st.integers(0, 9000),
)
def test_frames_exposed_are_those_whose_exposure_is_over(first, count, per_trigger, exposure, dead, pause, start, now):
    period = exposure + dead
    train = Train(
        first=first,
        count=count,
        start_ns=start,
        exposure_ns=exposure,
        frame_period_ns=period,
        per_trigger=per_trigger,
        trigger_period_ns=per_trigger * period + pause,
    )
    ends = [train.end_ns(index) for index in range(first, train.stop)]
    assert ends == sorted(ends)
    assert train.exposed(now) == sum(end <= now for end in ends)
    assert train.free_ns == ends[-1] + dead


def test_the_internal_trigger_gives_all_frames_at_once():
    one = plan("internal", nb_frames=5)
    train = one.start(100 * MS)
    assert (train.first, train.count) == (0, 5)
    assert one.exposed(100 * MS + 10 * MS - 1) == 0
    assert one.exposed(100 * MS + 10 * MS) == 1
    assert one.exposed(100 * MS + 4 * 11 * MS + 10 * MS) == 5
    assert one.exposed(10**15) == 5


def test_an_endless_acquisition_goes_on():
    one = plan("internal", nb_frames=0, expo_us=1, latency_us=0)
    assert one.start(0).count == ENDLESS
    assert one.exposed(3600 * 10**9) == 3_600_000_000


def test_software_triggers_follow_each_other():
    one = plan("software", nb_frames=5, per_trigger=2)
    assert one.start(0) is None
    assert one.trigger(0).count == 2
    with pytest.raises(StateError, match=r"comes 11\.000 ms before"):
        one.trigger(10 * MS)
    assert one.trigger(21 * MS).start_ns == 22 * MS  # in the dead time: held until it is over
    assert one.exposed(32 * MS) == 3
    assert one.trigger(60 * MS).count == 1  # the last frame
    with pytest.raises(StateError, match="after all 5 frames"):
        one.trigger(100 * MS)
    assert one.exposed(70 * MS - 1) == 4
    assert one.exposed(70 * MS) == 5


def test_an_external_pulse_on_a_busy_detector_is_ignored():
    one = plan("external", nb_frames=100)
    train, ignored = one.pulses(0, 10, 20 * MS, MS)
    assert (train.count, ignored) == (10, 0)
    assert one.pulses(100 * MS, 3, 20 * MS, MS) == (None, 3)
    train, ignored = one.pulses(190 * MS, 3, MS, MS)  # 190: busy until 191, then busy for 11 again
    assert (train.start_ns, train.count, ignored) == (191 * MS, 1, 2)


def test_pulses_faster_than_frames_trigger_every_few():
    one = plan("external", nb_frames=100)
    train, ignored = one.pulses(0, 10, 4 * MS, MS)  # a frame takes 11 ms: pulses 0, 3, 6, 9
    assert (train.count, ignored) == (4, 6)
    assert [train.end_ns(index) for index in range(4)] == [10 * MS + k * 12 * MS for k in range(4)]


@given(
    nb_frames=st.integers(0, 20),
    per_trigger=st.integers(1, 4),
    bursts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6), st.integers(1, 40)), max_size=6),
)
def test_external_frames_never_overlap_and_never_exceed_their_number(nb_frames, per_trigger, bursts):
    one, now, frames = plan("external", nb_frames, per_trigger), 0, []
    for wait, number, period in bursts:
        now += wait * MS
        train, ignored = one.pulses(now, number, period * MS, MS)
        assert 0 <= ignored <= number
        if train is not None:
            assert train.first == len(frames)
            frames += [train.end_ns(index) for index in range(train.first, train.stop)]
            assert -(-train.count // per_trigger) == number - ignored
    assert all(later - sooner >= 11 * MS for sooner, later in pairwise(frames))
    assert one.planned == len(frames) <= (nb_frames or ENDLESS)
    for at in (0, now, now + 50 * MS, 10**13):
        assert at < now or one.exposed(at) == sum(end <= at for end in frames)


def test_a_gate_exposes_while_it_is_high():
    one = plan("gate", nb_frames=2, latency_us=1_000)
    assert one.input_level(5 * MS, True) is None
    train = one.input_level(12 * MS, False)
    assert (train.start_ns, train.exposure_ns) == (5 * MS, 7 * MS)
    one.input_level(12 * MS + 1, True)  # rises in the dead time: ignored
    assert one.input_level(20 * MS, False) is None
    train, ignored = one.pulses(30 * MS, 5, 10 * MS, 4 * MS)
    assert (train.first, train.count, train.exposure_ns, ignored) == (1, 1, 4 * MS, 4)
    one.input_level(200 * MS, True)
    assert one.input_level(210 * MS, False) is None  # all frames taken


def test_the_input_is_refused_where_it_is_not_used():
    for mode in ("internal", "software"):
        with pytest.raises(StateError, match="the input is not used in trigger mode"):
            plan(mode).pulses(0, 1, MS, MS)
        with pytest.raises(StateError, match="the input is not used in trigger mode"):
            plan(mode).input_level(0, True)
    with pytest.raises(StateError, match="software trigger in trigger mode 'external'"):
        plan("external").trigger(0)
