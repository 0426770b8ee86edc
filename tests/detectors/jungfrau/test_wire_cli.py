"""The command lima2-jungfrau-sim."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lima2_receivers.detectors.jungfrau.packets import DAQ_HIGH_GAIN, HEADER
from lima2_receivers.detectors.jungfrau.wire import Faults
from lima2_receivers.detectors.jungfrau.wire.catching import Catcher, receive
from lima2_receivers.detectors.jungfrau.wire.cli import main

PAGE = Path(__file__).parents[3] / "doc" / "reference" / "command_line.md"
NOWHERE = ["--to", "127.0.0.1:9"]


def run(capsys, *arguments):
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_frames_go_to_the_ports_and_the_report_says_so(capsys):
    with Catcher(4) as catcher:
        if not catcher.room:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        to = ",".join(f"{host}:{port}" for host, port in catcher.addresses)
        report = run(
            capsys, "--to", to, "--frames", "2", "--rate", "50", "--modules", "2x1", "--interfaces", "2",
            "--module-ids", "7,9", "--first-frame", "20", "--stamp", "--order", "ascending",
            "--faults", '{"lost_packets": [{"frame": 1, "module": 1, "packet": 5}]}',
        )  # fmt: skip
        (ports,) = receive([catcher], 4 * 2 * 64 - 1)
    assert [len(datagrams) for datagrams in ports] == [128, 128, 127, 128]
    head = np.frombuffer(ports[2][0], HEADER, count=1)[0]
    assert (head["frame_number"], head["module_id"], head["column"]) == (20, 9, 1)
    assert report["frames"] == 2
    assert report["total"]["lost"] == 1
    assert [port["datagrams"] for port in report["ports"]] == [128, 128, 127, 128]


@pytest.mark.parametrize("pattern", ["bragg", "dark", "counts.npy", "documented"])
def test_every_pattern_can_be_sent(pattern, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("counts.npy", np.ones((514, 1030), np.uint16))
    report = run(capsys, *NOWHERE, "--frames", "3", "--pattern", pattern, "--slots", "2", "--high-gain", "--noise")
    assert report["total"]["good"] == 3 * 128


def test_high_gain_and_forced_stages_stand_in_the_headers(capsys):
    with Catcher(1) as catcher:
        if not catcher.room:
            pytest.skip("sockets cannot hold a frame; sysctl -w net.core.rmem_max=4194304")
        to = "{}:{}".format(*catcher.addresses[0])
        run(capsys, "--to", to, "--frames", "1", "--pattern", "dark", "--slots", "1", "--high-gain")
        ((datagrams,),) = receive([catcher], 128)
    assert {int(np.frombuffer(datagram, HEADER, count=1)["daq_info"][0]) for datagram in datagrams} == {DAQ_HIGH_GAIN}


def test_without_json_there_is_a_table(capsys):
    main([*NOWHERE, "--frames", "2"])
    shown = capsys.readouterr().out
    assert "frames               2" in shown
    assert "receiver 0  module 0  interface 0  frames 2  packets 256  datagrams 256  good 256" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "nowhere"], "HOST:PORT"),
        ([*NOWHERE, "--modules", "2"], "2x4"),
        ([*NOWHERE, "--modules", "1x2"], "1 addresses"),
        ([*NOWHERE, "--module-ids", "a"], "write numbers"),
        ([*NOWHERE, "--faults", '{"los": 1}'], "unknown parameter"),
        ([*NOWHERE, "--faults", "@absent.json"], "absent.json"),
        ([*NOWHERE, "--pattern", "absent.npy"], "absent.npy"),
        ([*NOWHERE, "--pattern", "stripes"], "bragg, dark"),
        ([*NOWHERE, "--pattern", "bragg", "--slots", "0"], "nb_prefetch_frames"),
        ([*NOWHERE, "--frames", "-1"], "frames"),
        ([*NOWHERE, "--replay", "absent.json"], "beside it"),
    ],
)
def test_errors_are_one_line(arguments, says, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_file_that_holds_no_pictures_is_refused(capsys, tmp_path):
    for name, content in (("text.npy", b"no array"), ("empty.npy", b"")):
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "words.npy", np.array(["a"]))
    for name in ("text.npy", "empty.npy", "words.npy"):
        with pytest.raises(SystemExit):
            main([*NOWHERE, "--pattern", str(tmp_path / name)])
        assert name in capsys.readouterr().err


def test_sigterm_ends_it_after_a_frame_with_its_report():
    with Catcher(1) as catcher:
        to = "{}:{}".format(*catcher.addresses[0])
        command = [
            sys.executable,
            "-m",
            "lima2_receivers.detectors.jungfrau.wire.cli",
            "--to",
            to,
            "--rate",
            "5",
            "--json",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
            receive([catcher], 1, 60)
            process.send_signal(signal.SIGTERM)
            report = json.loads(process.communicate(timeout=30)[0])
    assert process.returncode == 0
    assert report["frames"] >= 1
    assert report["total"]["good"] == 128 * report["frames"]


def test_the_reference_names_every_fault_and_option(capsys):
    page = PAGE.read_text()
    page = page[page.index("## lima2-jungfrau-sim") : page.index("## Servers")]
    assert [name for name in Faults.model_fields if f"`{name}`" not in page] == []
    with pytest.raises(SystemExit):
        main(["--help"])
    options = {word.strip("[],") for word in capsys.readouterr().out.split() if word.startswith(("--", "[--"))}
    assert [option for option in options - {"--help"} if f"`{option}" not in page] == []
