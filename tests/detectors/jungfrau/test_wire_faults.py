"""Faults of the simulated wire are there as often as the report says, to the packet."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.packets import DATAGRAM_BYTES, HEADER
from lima2_receivers.detectors.jungfrau.wire import Fate, Faults, WireLayout, WireSimulator
from lima2_receivers.detectors.jungfrau.wire.catching import Catcher, catch
from lima2_receivers.detectors.jungfrau.wire.content import pattern_content
from lima2_receivers.detectors.jungfrau.wire.datagrams import Exposure
from lima2_receivers.detectors.jungfrau.wire.report import Counter as WireCounter
from lima2_receivers.detectors.jungfrau.wire.trains import TrainMaker

RATES = [name for name in Faults.model_fields if name.endswith("_rate")]


def caught_with(faults, layout=WireLayout(interfaces=2), frames=4, receivers=1):
    """Datagrams by receiver and port, and the report."""
    catchers = [Catcher(layout.ports) for _ in range(receivers)]
    try:
        if not all(catcher.room for catcher in catchers):
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        with WireSimulator(
            layout, [catcher.addresses for catcher in catchers], faults=Faults.model_validate(faults)
        ) as simulator:
            return catch(simulator, catchers, frames)
    finally:
        for catcher in catchers:
            catcher.__exit__(None, None, None)


def header(datagram):
    return np.frombuffer(datagram, HEADER, count=1)[0]


def packets(datagrams):
    """(frame number, packet number) of the intact datagrams of the module's own, in the order of arrival."""
    heads = [header(datagram) for datagram in datagrams if len(datagram) == DATAGRAM_BYTES]
    own = [head for head in heads if head["detector_type"] == 3 and head["version"] == 2 and head["module_id"] < 60000]
    return [(int(head["frame_number"]), int(head["packet_number"])) for head in own]


def events(report, fate, interface=0):
    found = report.events_of(fate)
    found = found[found["interface"] == interface]
    return {(int(event["frame_number"]), int(event["packet"])) for event in found}


def everything(interface_packets=64, frames=4):
    return {(frame, packet) for frame in range(1, frames + 1) for packet in range(interface_packets)}


@settings(max_examples=40, deadline=None)
@given(
    rates=st.dictionaries(st.sampled_from(RATES), st.floats(0, 0.25)),
    seed=st.integers(0, 1000),
    receivers=st.integers(1, 3),
    interfaces=st.sampled_from([1, 2]),
    order=st.sampled_from(["ascending", "descending", "centre_out"]),
)
def test_counts_add_up_to_the_packet_whatever_goes_wrong(rates, seed, receivers, interfaces, order):
    layout = WireLayout(1, 2, interfaces, order)
    addresses = [[("127.0.0.1", 9)] * layout.ports] * receivers
    faults = Faults(seed=seed, late_by_frames=2, **rates)
    trains = TrainMaker(layout, pattern_content(layout), addresses, faults, 7, 0.0)
    counter = WireCounter(receivers, 2, interfaces)
    on_wire = 0
    for index in range(6):
        on_wire += trains.train(Exposure(index, index + 1, index % receivers), counter).datagrams
        assert counter.counts(layout.packets)["datagrams"].sum() == on_wire
    on_wire += sum(table.datagrams for table in trains.rest(counter))
    counts = counter.counts(layout.packets)
    assert counts["datagrams"].sum() == on_wire
    assert (counts["frames"].sum(axis=0) == 6).all()
    assert (counts["packets"] == counts["frames"] * layout.packets).all()
    missing = ("lost", "lost_with_frame", "silent", "malformed", "wrong_version")
    assert (counts["packets"] == counts["good"] + sum(counts[name] for name in missing)).all()
    sent = ("good", "malformed", "wrong_version", "duplicated", "foreign_type", "foreign_module")
    assert (counts["datagrams"] == sum(counts[name] for name in sent)).all()
    found, left_out = counter.events()
    assert left_out == 0
    for fate in Fate:
        if fate not in (Fate.GOOD, Fate.SILENT):
            assert (found["fate"] == fate).sum() == counts[fate.name.lower()].sum()


def test_lost_packets_are_those_that_the_report_names():
    (((first, second),), report) = caught_with({"loss_rate": 0.1, "seed": 3})
    lost = events(report, Fate.LOST)
    assert 5 < len(lost) < 60
    assert set(packets(first)) == everything() - lost
    assert set(packets(second)) == everything() - events(report, Fate.LOST, 1)
    assert report.ports["lost"][0, 0].tolist() == [256 - len(first), 256 - len(second)]
    index = int(report.events_of(Fate.LOST)["index"][0])
    assert len(report.missing(index)) == sum(frame == index + 1 for frame, _ in lost) + sum(
        frame == index + 1 for frame, _ in events(report, Fate.LOST, 1)
    )


def test_packets_and_frames_can_be_lost_by_name():
    given_ = {"lost_packets": [{"frame": 2, "interface": 1, "packet": 63}], "lost_frames": [0, 3]}
    (((first, second),), report) = caught_with(given_)
    assert set(packets(first)) == {(frame, packet) for frame in (2, 3) for packet in range(64)}
    assert set(packets(second)) == set(packets(first)) - {(3, 63)}
    assert report.total("lost") == 1
    assert report.total("lost_with_frame") == 2 * 128


def test_whole_frames_are_lost_at_their_rate():
    _, report = caught_with({"frame_loss_rate": 0.5}, WireLayout(), frames=30)
    assert 5 <= report.total("lost_with_frame") / 128 <= 25
    assert report.total("lost_with_frame") % 128 == 0


def test_reordered_packets_are_all_there_at_other_places():
    layout = WireLayout(interfaces=2, order="ascending")
    (((first, _),), report) = caught_with({"reorder_rate": 0.1}, layout)
    arrived = packets(first)
    displaced = {found for found, expected in zip(arrived, sorted(everything()), strict=True) if found != expected}
    assert displaced == events(report, Fate.REORDERED)
    assert len(displaced) > 5
    assert set(arrived) == everything()


@pytest.mark.parametrize("receivers", [1, 2])
def test_late_packets_come_within_a_later_frame_of_the_same_receiver(receivers):
    caught, report = caught_with({"late_rate": 0.05}, frames=6, receivers=receivers)
    assert report.total("late") > 5
    assert report.total("good") == report.total("packets") == report.total("datagrams")
    late = events(report, Fate.LATE)
    for receiver, (first, _) in enumerate(caught):
        arrived = packets(first)
        own = {(frame, packet) for frame, packet in everything(frames=6) if (frame - 1) % receivers == receiver}
        assert set(arrived) == own
        newest = 0
        for frame, packet in arrived:  # a late one comes within the frame after its own, if there is one
            newest = max(newest, frame)
            follows = (frame, packet) in late and frame + receivers <= 6
            assert newest == (frame + receivers if follows else frame)


def test_duplicates_come_once_more_after_the_first():
    (((first, _),), report) = caught_with({"duplicate_rate": 0.1})
    counted = Counter(packets(first))
    assert set(counted) == everything()
    assert {packet for packet, number in counted.items() if number == 2} == events(report, Fate.DUPLICATED)
    assert max(counted.values()) == 2
    assert report.total("duplicated") > 5


def test_foreign_packets_come_beside_the_own_ones():
    given_ = {"foreign_type_rate": 0.05, "foreign_module_rate": 0.05, "foreign_type": 7, "foreign_module_id": 60001}
    (((first, _),), report) = caught_with(given_)
    assert set(packets(first)) == everything()
    counts = report.ports[0, 0, 0]
    assert sum(header(datagram)["detector_type"] == 7 for datagram in first) == counts["foreign_type"] > 0
    assert sum(header(datagram)["module_id"] == 60001 for datagram in first) == counts["foreign_module"] > 0


def test_malformed_and_wrong_datagrams_come_instead_of_the_own_ones():
    sizes = [0, 47, 48, 1000, 8239, 8241, 9000]
    (((first, _),), report) = caught_with({"malformed_rate": 0.1, "wrong_version_rate": 0.1, "wrong_version": 1})
    assert {len(datagram) for datagram in first} <= {*sizes, DATAGRAM_BYTES}
    assert sum(len(datagram) != DATAGRAM_BYTES for datagram in first) == report.ports["malformed"][0, 0, 0] > 5
    whole = [datagram for datagram in first if len(datagram) == DATAGRAM_BYTES]
    assert sum(header(datagram)["version"] == 1 for datagram in whole) == report.ports["wrong_version"][0, 0, 0] > 5
    assert set(packets(first)) == everything() - events(report, Fate.MALFORMED) - events(report, Fate.WRONG_VERSION)


def test_silent_modules_send_nothing_and_the_others_all():
    ((ports,), report) = caught_with({"silent_modules": [1, 2]}, WireLayout(3, 1), frames=2)
    assert [len(datagrams) for datagrams in ports] == [256, 0, 0]
    assert report.ports["silent"].ravel().tolist() == [0, 256, 256]
    assert not len(report.events)


def test_swapped_modules_have_the_others_id_in_their_own_place():
    ((ports,), _) = caught_with({"swapped_modules": [[0, 2]]}, WireLayout(1, 3), frames=1)
    seen = [(int(header(datagrams[0])["module_id"]), int(header(datagrams[0])["row"])) for datagrams in ports]
    assert seen == [(1236, 0), (1235, 1), (1234, 2)]


def test_swapped_cables_bring_the_datagrams_of_the_other_module():
    ((ports,), _) = caught_with({"swapped_cables": [[0, 2]]}, WireLayout(1, 3, 2), frames=1)
    rows = [{int(header(datagram)["row"]) for datagram in datagrams} for datagrams in ports]
    assert rows == [{4}, {5}, {2}, {3}, {0}, {1}]
    assert {int(header(datagram)["module_id"]) for datagram in ports[0]} == {1236}


def test_the_same_seed_gives_the_same_faults():
    given_ = {"loss_rate": 0.02, "late_rate": 0.02, "duplicate_rate": 0.02, "reorder_rate": 0.02}

    def sequence(caught):
        return [packets(datagrams) for datagrams in caught[0][0]]

    first, again, other = (caught_with({**given_, "seed": seed}, frames=2) for seed in (1, 1, 2))
    assert sequence(first) == sequence(again)
    np.testing.assert_array_equal(first[1].events, again[1].events)
    assert sequence(first) != sequence(other)


def test_too_many_events_are_counted_but_left_out():
    counter = WireCounter(1, 1, 1, max_events=50)
    layout = WireLayout()
    trains = TrainMaker(layout, pattern_content(layout), [[("127.0.0.1", 9)]], Faults(lost_frames=[0]), 1, 0.0)
    trains.train(Exposure(0, 1), counter)
    found, left_out = counter.events()
    assert (len(found), left_out) == (50, 78)
    assert counter.counts(128)["lost_with_frame"].sum() == 128


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"loss_rate": 1.1}, "loss_rate"),
        ({"loss_rate": 0.6, "late_rate": 0.6}, "together at most 1"),
        ({"malformed_sizes": [8240]}, "but not 8240"),
        ({"los_rate": 0.1}, "los_rate: unknown"),
    ],
)
def test_faults_that_cannot_be_are_refused(faults, says):
    with pytest.raises(ParameterError, match=says):
        parse(Faults, faults, "faults")


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"silent_modules": [-1]}, "counted from 0"),
        ({"swapped_modules": [(0, 5)]}, r"modules \[5\]"),
        ({"swapped_cables": [(0, 0)]}, "paired with itself"),
        ({"lost_packets": [{"frame": 0, "interface": 1, "packet": 3}]}, "lost_packets"),
        ({"lost_packets": [{"frame": 0, "packet": 127, "module": 9}]}, r"modules \[9\]"),
    ],
)
def test_faults_of_what_the_detector_has_not_are_refused(faults, says):
    with pytest.raises(ParameterError, match=says):
        WireSimulator(WireLayout(2, 1), [[("127.0.0.1", 9)] * 2], faults=Faults.model_validate(faults))
