"""What tests of the online monitor start: the monitor, a BLISS session that takes orders, a wire to Redis to cut."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def monitoring(redis: str, env: Mapping[str, str], log: Path, port: int = 0) -> Iterator[str]:
    """`lima2-monitor` on a Redis; gives its address."""
    command = [str(Path(sys.executable).with_name("lima2-monitor")), "--port", str(port), "--redis", redis]
    with log.open("a") as errors:
        process = subprocess.Popen(command, env=dict(env), stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.match(r"monitor: (http://\S+)/", said)
            assert found, said + log.read_text()
            yield found[1]
        finally:
            process.terminate()
            process.wait(15)


class Wire:
    """A port of this host that leads to another one, until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self.port = 0
        self.mend()

    def mend(self, target: int | None = None) -> None:
        """Lead there (again)."""
        self._target = target or self._target
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._server,), name="wire", daemon=True).start()

    def cut(self) -> None:
        """Close all connections and refuse new ones."""
        if self._server is not None:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._server = None
        self.drop()

    def drop(self) -> int:
        """Close all connections; new ones are taken. How many there were."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        return len(ends) // 2

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_carry, args=(source, sink), name="wire", daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 18):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


_ORDERS = """
import json, traceback
import numpy as np
with open(data_path + "/orders") as orders, open(data_path + "/answers", "w") as answers:
    for order in orders:
        told = {}
        try:
            exec(json.loads(order), globals())
        except BaseException as error:
            traceback.print_exc()
            told = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), file=answers, flush=True)
"""


class Bliss:
    """A BLISS process: code that puts what it has to say into ``told``."""

    def __init__(self, place: Path, orders: Any, answers: Any) -> None:
        self.place = place
        self._orders = orders
        self._answers = answers
        self._pool = ThreadPoolExecutor(1)

    def begin(self, code: str) -> Future[dict[str, Any]]:
        """Run code; it goes on while the test does something else."""
        return self._pool.submit(self._run, code)

    def run(self, code: str) -> dict[str, Any]:
        """Run code, give what it told."""
        return self.begin(code).result(120)

    def _run(self, code: str) -> dict[str, Any]:
        self._orders.write(json.dumps(code) + "\n")
        self._orders.flush()
        line = self._answers.readline()
        assert line, "BLISS has ended"
        return dict(json.loads(line))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """What the code kept in data_path/NAME.npz."""
        with np.load(self.place / f"{name}.npz") as kept:
            return dict(kept)


@contextmanager
def obeying(place: Path, run: Callable[..., str]) -> Iterator[Bliss]:
    """A BLISS process in a directory, started by ``run``; it ends with the block."""
    for name in ("orders", "answers"):
        os.mkfifo(place / name)
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run, _ORDERS, 175.0)
        try:
            with (place / "orders").open("w") as orders, (place / "answers").open() as answers:
                bliss = Bliss(place, orders, answers)
                bliss.run("pass")  # it is up
                yield bliss
                bliss._pool.shutdown()
        finally:
            ended.result(60)
