"""A real Redis with blissdata's schema, scans with streams in it, and receivers filled by hand."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from blissdata.redis_engine.scan import Scan as RedisScan
from blissdata.redis_engine.store import DataStore

from lima2_bliss.contract.parameters import SmxParameters
from lima2_bliss.publishing.encoders import encoder_of
from lima2_bliss.publishing.job import Budget, Limits, PublishJob, ReceiverAddress, StreamTarget
from lima2_bliss.publishing.lima_info import lima_info as make_lima_info
from lima2_bliss.publishing.publication import Publication
from lima2_bliss.publishing.publisher import Publisher
from lima2_bliss.publishing.streams import (
    StreamDefinition,
    frame_streams,
    image_stream,
    preview_streams,
    profile_streams,
    roi_streams,
    smx_streams,
)
from lima2_bliss.stack.redis_modules import find_redis

DETECTOR = "det"
_numbers = itertools.count(1)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


smx_rows = _load("smx_rows")
receivers = _load("receiver_process")


class RedisServer:
    """A redis-server of our own on a free port."""

    def __init__(self, max_memory: str = "256mb") -> None:
        self.max_memory = max_memory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._directory = tempfile.TemporaryDirectory()
        self.start()
        self.store = DataStore(self.url, init_db=True)

    def start(self) -> None:
        found = find_redis()
        self.process = subprocess.Popen(
            [
                str(found.server),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory.name, "--save", ""),
                *("--maxmemory", self.max_memory, "--maxmemory-policy", "noeviction"),
                *("--loadmodule", str(found.json_module), "--loadmodule", str(found.search_module)),
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for(self._answers, "Redis answers")

    def _answers(self) -> bool:
        with contextlib.closing(redis.Redis(port=self.port)) as client, contextlib.suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Return when ``condition()`` holds; fail after ``timeout_s``."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.002)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


def all_definitions() -> list[StreamDefinition]:
    """Image, frame streams, two ROIs, a profile and a preview."""
    return [
        image_stream(receivers.INFO),
        *frame_streams(),
        *roi_streams(["roi1", "roi2"]),
        *profile_streams(["profile1"], [receivers.PROFILE]),
        *preview_streams(receivers.INFO, longest_side=20),
    ]


def definitions_of_smx(nb_bins: int = 5) -> list[StreamDefinition]:
    """Image and all SMX streams without ROIs."""
    processing = SmxParameters.model_validate({"fai": {"poni_path": "x.poni", "nb_bins": nb_bins}})
    return smx_streams(processing, receivers.INFO)


ROWS_PER_FRAME = {"roi_statistics": 2, "roi_profiles": receivers.PROFILE, "frame_event": 1}


@dataclass
class ScanSetup:
    """A scan as BLISS makes it, the job that publishes into it, and the receivers that give the rows."""

    server: RedisServer
    scan: Any
    job: PublishJob
    receivers: list[Any]
    publisher: Publisher = field(default_factory=Publisher)

    @property
    def url(self) -> str:
        return self.server.url

    def publish(self) -> Publication:
        self.publisher.begin(self.job)
        return self.publisher.publication(self.job.uuid)

    def reader(self) -> Any:
        """The scan as another process loads it, image stream as its bare status entries."""
        return self.server.store.load_scan(self.scan.key, scan_cls=RedisScan)

    def close(self) -> None:
        self.publisher.close()
        for receiver in self.receivers:
            receiver.close()
        # each on its own: blissdata stops at the first stream whose Redis is gone, and leaks the other sinks' threads
        for stream in self.scan._writer_streams.values():
            with contextlib.suppress(Exception):
                stream._sink.stop()
        with contextlib.suppress(redis.RedisError, OSError):
            self.scan.close()


def create_scan(
    server: RedisServer,
    definitions: list[StreamDefinition],
    lima_info: dict[str, Any] | None = None,
) -> tuple[Any, list[StreamTarget]]:
    """A started scan with these streams, and their targets."""
    number = next(_numbers)
    scan = server.store.create_scan(
        {"name": "test", "number": number, "data_policy": "none", "session": "test"}, info={"name": "test"}
    )
    targets = []
    for definition in definitions:
        info = definition.info()
        if definition.kind == "image":
            info |= {"format": "lima_v1", "lima_info": lima_info or make_lima_info("test/limaimage/det", 8, 0, 0)}
        stream = scan.create_stream(f"{DETECTOR}:{definition.name}", encoder_of(definition), info=info)
        targets.append(StreamTarget(definition=definition, key=stream.key))
    scan.prepare()
    scan.start()
    return scan, targets


@pytest.fixture
def make_setup(redis_server: RedisServer) -> Iterator[Callable[..., ScanSetup]]:
    """Makes a scan, its job and ``nb_receivers`` receivers (with ``smx`` rows: of that pipeline); keywords go to the
    job."""
    made: list[ScanSetup] = []

    def make(
        nb_receivers: int = 1,
        nb_frames: int = 0,
        definitions: list[StreamDefinition] | None = None,
        lima_info: dict[str, Any] | None = None,
        server: RedisServer | None = None,
        smx: Any = None,
        **job: Any,
    ) -> ScanSetup:
        server = server or redis_server
        acquisition = str(uuid.uuid4())
        ours = [receivers.HandFedReceiver(acquisition, rank, nb_receivers, rows=smx) for rank in range(nb_receivers)]
        if smx is not None:
            definitions = definitions or definitions_of_smx(smx.nb_bins)
            job = {"rows_per_frame": smx.rows_per_frame, "row_counts": smx_rows.ROW_COUNTS} | job
        scan, targets = create_scan(server, definitions or all_definitions(), lima_info)
        job.setdefault("rows_per_frame", ROWS_PER_FRAME)
        job.setdefault("limits", Limits(redis_timeout_s=1.0, drain_timeout_s=1.0, memory_timeout_s=0.5))
        setup = ScanSetup(
            server,
            scan,
            PublishJob(
                uuid=acquisition,
                redis_url=server.url,
                receivers=[ReceiverAddress(name=r.name, endpoint=r.endpoint) for r in ours],
                nb_frames=nb_frames,
                streams=targets,
                **job,
            ),
            ours,
        )
        made.append(setup)
        return setup

    yield make
    for setup in made:
        setup.close()


@pytest.fixture
def make_redis() -> Iterator[Callable[..., RedisServer]]:
    """Makes further Redis servers for tests that break them."""
    made: list[RedisServer] = []

    def make(**options: Any) -> RedisServer:
        made.append(RedisServer(**options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def budget() -> type[Budget]:
    return Budget


@pytest.fixture
def hand_fed() -> ModuleType:
    """The module of the receivers filled by hand."""
    return receivers


@pytest.fixture
def smx() -> type[Any]:
    """Makes the result rows of the SMX pipeline."""
    return smx_rows.SmxRows


@pytest.fixture
def smx_definitions() -> Callable[[int], list[StreamDefinition]]:
    """Gives image and all SMX streams for so many bins."""
    return definitions_of_smx


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_for


@pytest.fixture(scope="session")
def blissdata2_python() -> str:
    """Python of an environment with blissdata 2.4: consumers of tomorrow."""
    python = Path(__file__).parents[2] / ".venv-blissdata2" / "bin" / "python"
    if not python.is_file():
        pytest.fail("no environment with blissdata 2.4; make it with: make setup-consumer")
    return str(python)


@pytest.fixture
def receiver_process() -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts a receiver process that has fed itself ``frames`` frames and goes on living; gives it and its endpoint."""
    processes = []

    def start(uuid: str, rank: int, receivers: int, frames: int) -> tuple[subprocess.Popen[str], str]:
        script = str(Path(__file__).with_name("receiver_process.py"))
        command = [sys.executable, script, uuid, str(rank), str(receivers), "--frames", str(frames), "--keep-running"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        endpoint = json.loads(process.stdout.readline())["endpoint"]
        process.stdin.write(f"{time.time()}\n")
        process.stdin.flush()
        return process, endpoint

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
