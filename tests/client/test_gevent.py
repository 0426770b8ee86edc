"""The client in a process that gevent has patched, as BLISS is."""

from __future__ import annotations

import subprocess
import sys

from tango_bench import TangoBench

SCRIPT = """
from gevent import monkey; monkey.patch_all()
import gevent, time
from lima2_bliss.client import Detector

slowest = 0.0
def tick():
    global slowest
    while True:
        began = time.perf_counter()
        gevent.sleep(0.001)
        slowest = max(slowest, time.perf_counter() - began)

detector = Detector("id00/limacontrol/sim", ["id00/limareceiver/sim1", "id00/limareceiver/sim2"])
acquisition, processing = detector.default_parameters()
acquisition["acq"] |= {"nb_frames": 100, "expo_time": 2000, "latency_time": 0}
detector.prepare(acquisition, processing)
ticker = gevent.spawn(tick)
gevent.sleep(0.05)
run = detector.prepare(acquisition, processing)
run.start()
waiting = [gevent.spawn(run.wait, timeout_s=10) for _ in range(3)]
gevent.joinall(waiting, raise_error=True)
count = sum(1 for _ in run.frames())
run.close()
try:
    Detector("id00/limacontrol/sim", ["id00/limareceiver/nosuch"]).prepare({})
except ConnectionError as error:
    print(error)
ticker.kill()
print("frames", count, "slowest tick", slowest)
assert slowest < 0.25, slowest
"""


def test_greenlets_go_on_while_the_client_waits(bench: TangoBench) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=bench.environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "frames 100" in done.stdout
    assert "id00/limareceiver/nosuch: is not in the Tango database" in done.stdout
    assert "Traceback" not in done.stderr
