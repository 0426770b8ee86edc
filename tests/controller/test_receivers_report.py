"""What det.receivers, det.topology and det.pipelines tell."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from detector_views import MIB, ONE, SILENT, TWO, FakeReceivers, pipeline, receiver

from lima2_bliss.contract import NotAvailableError, RoundRobin, StateError
from lima2_bliss.controller.configuration import Configuration
from lima2_bliss.controller.live_pipeline import age_text, stage
from lima2_bliss.controller.pipelines import Pipelines
from lima2_bliss.controller.receivers_report import ReceiversReport
from lima2_bliss.controller.topology_report import Topology, dispatch_words

PACKETS = {"packets_received": 128, "packets_missing": 3}


def report(overviews):
    return ReceiversReport("det.receivers", [ONE, TWO], lambda: overviews)


def lines_with(text, word):
    return [line for line in text.splitlines() if word in line]


def test_each_receiver_is_a_line_with_its_frames_ring_and_memory():
    last = pipeline("b", "running", 7, intake=PACKETS, ring_held=9, ring_places=36)
    text = report({ONE: receiver(0, pipeline("a"), last), TWO: receiver(1)}).__info__()
    assert "packets" in text
    cells = lines_with(text, ONE)[0].split()
    assert cells[:5] == ["0", ONE, "RUNNING", "acq1,", "100"]
    assert cells[5:9] == ["7", "7", "6", "0"]
    assert "128 (3 missing)" in text
    assert "9 of 36" in text
    assert "3.0 MiB of 64.0 MiB" in text


def test_a_receiver_that_does_not_answer_says_why_and_the_others_are_there():
    receivers = report({ONE: receiver(0, pipeline("a")), TWO: SILENT})
    assert "packets" not in receivers.__info__().splitlines()[1]
    assert "no answer" in lines_with(receivers.__info__(), TWO)[0]
    assert f"receiver 1: {TWO} does not answer" in receivers.__info__()
    assert receivers[TWO].overview is None
    assert receivers[0].last.counts.saved == 4
    assert ONE in receivers[0].__info__()


def test_an_unknown_receiver_is_refused_with_those_that_exist():
    with pytest.raises(NotAvailableError, match=f"no 2; there are 0 to 1: {ONE}"):
        report({})[2]


def topology(overviews):
    given = Configuration(name="det", control="a/b/c", receivers=[ONE, TWO], access="a/b/i", publisher="a/b/p")
    return Topology(given, lambda: overviews, lambda: RoundRobin(2))


def test_topology_says_who_takes_what_and_where():
    shown = topology({ONE: receiver(0), TWO: SILENT})
    text = shown.__info__()
    assert "round robin over 2 receivers: frame i goes to receiver i modulo 2" in text
    assert "tcp://acq1:6000" in lines_with(text, ONE)[0]
    assert "does not answer" in lines_with(text, TWO)[0]
    assert list(shown.devices) == ["control", "receiver 0", "receiver 1", "access", "publisher"]
    with pytest.raises(AttributeError):
        shown.nb_receivers = 3
    with pytest.raises(AttributeError):
        shown.receiver = 3


def test_dispatch_in_words():
    assert dispatch_words(RoundRobin(1)).startswith("single")
    assert "blocks of 3 exposures" in dispatch_words(RoundRobin(2, 3))


OLD, NEW = "aaaa-1", "aabb-2"
PAST = SimpleNamespace(
    keep_pipelines=2, acquisition=lambda uuid: SimpleNamespace(frame=lambda *_: np.full((1, 2, 3), 7))
)


def pipelines(second="running"):
    receivers = FakeReceivers(
        {
            ONE: receiver(0, pipeline(OLD, memory_bytes=MIB), pipeline(NEW, memory_bytes=2 * MIB, age_s=90.0)),
            TWO: receiver(1, pipeline(OLD, memory_bytes=MIB), pipeline(NEW, second, memory_bytes=2 * MIB)),
        }
    )
    return Pipelines("det.pipelines", receivers, {OLD: "7: loopscan 5 0.1"}, PAST, None), receivers


def test_acquisitions_are_put_together_over_the_receivers():
    alive, _ = pipelines()
    assert [(each.uuid, each.state, each.processed, each.expected) for each in alive.read()] == [
        (OLD, "finished", 10, 20),
        (NEW, "running", 10, 20),
    ]
    text = alive.__info__()
    assert "7: loopscan 5 0.1" in lines_with(text, OLD)[0]
    assert "of another session" in lines_with(text, NEW)[0]
    assert lines_with(text, NEW)[0].split()[4:] == [
        "legacy",
        "receiving",
        "10",
        "of",
        "20",
        "10",
        "8",
        "4.0",
        "MiB",
        "90",
        "s",
    ]
    assert "so that 2 stay, its own included, never more than 4 in all" in text


def test_one_acquisition_gives_its_frames_and_what_each_receiver_does():
    alive, _ = pipelines()
    assert alive["aab"].frame(3).shape == (2, 3)
    assert (alive[0].uuid, alive[-1].uuid) == (OLD, NEW)
    assert alive.budget == {ONE: 64 * MIB, TWO: 64 * MIB}
    text = alive[NEW].__info__()
    assert lines_with(text, ONE)[0].split()[1:] == ["finished", "5", "5", "4", "0", "2.0", "MiB"]
    assert "of another session, pipeline legacy, receiving, 90 s old" in text
    with pytest.raises(NotAvailableError, match=r"pipelines\[2\]: there are 2"):
        alive[2]
    with pytest.raises(NotAvailableError, match=r"pipelines\['aa'\]: several"):
        alive["aa"]


def test_the_stages_of_an_acquisition():
    assert stage(pipeline(NEW, "prepared")) == "prepared"
    assert stage(pipeline(NEW, "running")) == "receiving"
    assert stage(pipeline(NEW, "running", source_done=True)) == "processing"
    assert stage(pipeline(NEW, "running", source_done=True, processing_done=True)) == "saving"
    assert [age_text(age) for age in (3.4, 119, 120, 7199, 7200, 200_000)] == [
        "3 s",
        "119 s",
        "2 min",
        "120 min",
        "2 h",
        "2 d",
    ]


def test_what_runs_is_never_erased():
    alive, receivers = pipelines()
    with pytest.raises(StateError, match=f"{NEW} still runs on {TWO} and is not erased; wait"):
        alive.erase(NEW)
    assert receivers.erased == []
    said = alive.erase("all")
    assert receivers.erased == [(OLD, [ONE, TWO])]
    assert said[0] == f"{OLD} erased: 2.0 MiB are free again"
    assert "still runs" in said[1]


def test_the_beginning_of_a_uuid_is_enough_if_there_is_one_like_it():
    alive, receivers = pipelines("failed")
    alive.erase("aab")
    assert receivers.erased == [(NEW, [ONE, TWO])]
    for wrong, how in (("aa", "several"), ("x", "no"), ("", "no")):
        with pytest.raises(NotAvailableError, match=f"{how} acquisitions begin like this; there are: {OLD}, {NEW}"):
            alive.erase(wrong)


def test_a_silent_receiver_keeps_what_it_has():
    receivers = FakeReceivers({ONE: receiver(0, pipeline(OLD)), TWO: SILENT})
    alive = Pipelines("det.pipelines", receivers, {}, PAST, None)
    assert "on 1 of 2 receivers" in alive.__info__()
    assert alive.erase("all")[-1].startswith(f"not on {TWO}")
    assert receivers.erased == [(OLD, [ONE])]
    assert Pipelines("det.pipelines", FakeReceivers({ONE: receiver(0)}), {}, PAST, None).erase("all") == [
        "there was nothing to erase"
    ]
