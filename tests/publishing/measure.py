"""Row appended on a receiver -> row in a consumer process: every part in a process of its own, on a real Redis.

`.venv/bin/python tests/publishing/measure.py --rate 1000 --frames 5000 --receivers 2 --rois 10`; rate 0: as fast as it
goes. `--smx 1000 100 10000`: rows of the SMX pipeline with so many bins, spots and sparse pixels in each frame.
Prints one JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

CONSUMER = """
import sys, time, json
import numpy as np
from blissdata.redis_engine.store import DataStore
from blissdata.redis_engine.exceptions import EndOfStream
url, key, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
stream = DataStore(url).load_scan(key).streams["det:timestamp"]
cursor, delays, count, first = stream.cursor(), [], 0, 0.0
print("ready", flush=True)
while count < total:
    index, stamps = cursor.read(timeout=20)
    now = time.time()
    if len(stamps) == 0:
        break
    first = first or now
    delays.append(now - np.asarray(stamps)); count += len(stamps)
delays = np.concatenate(delays) * 1e3
print(json.dumps({"rows": count, "p50_ms": round(float(np.percentile(delays, 50)), 3),
    "p99_ms": round(float(np.percentile(delays, 99)), 3), "max_ms": round(float(delays.max()), 3),
    "rows_per_s": round(count / max(now - first, 1e-9))}), flush=True)
"""

PUBLISHER = """
import sys
sys.setswitchinterval(0.0005)
from lima2_bliss.publishing.job import PublishJob
from lima2_bliss.publishing.publisher import Publisher
publisher = Publisher()
job = PublishJob.model_validate_json(sys.stdin.readline())
publisher.begin(job)
publication = publisher.publication(job.uuid)
print("begun", flush=True)
sys.stdin.readline()
publication.finish()
status = publication.wait(2**62, 30)
print(status.model_dump_json(), flush=True)
publisher.close()
"""


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen, line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--receivers", type=int, default=2)
    parser.add_argument("--no-preview", action="store_true")
    parser.add_argument("--smx", type=int, nargs=3, metavar=("BINS", "SPOTS", "PIXELS"))
    parser.add_argument("--budget-mb", type=int, default=0, help="Redis memory for each family; 0: the defaults")
    options = parser.parse_args()
    spec = importlib.util.spec_from_file_location("conftest", HERE / "conftest.py")
    fixtures = importlib.util.module_from_spec(spec)
    sys.modules["conftest"] = fixtures
    spec.loader.exec_module(fixtures)

    server = fixtures.RedisServer("4gb")
    processes = []
    try:
        acquisition = str(uuid.uuid4())
        feeders = [
            start(
                str(HERE / "receiver_process.py"), acquisition, str(rank), str(options.receivers),
                *("--rate", str(options.rate)),
                *(["--smx", *map(str, options.smx)] if options.smx else []),
                *("--frames", str(fixtures.receivers.RoundRobin(options.receivers).count(rank, options.frames))),
            )
            for rank in range(options.receivers)
        ]  # fmt: skip
        processes += feeders
        endpoints = [json.loads(feeder.stdout.readline())["endpoint"] for feeder in feeders]
        definitions = fixtures.definitions_of_smx(options.smx[0]) if options.smx else fixtures.all_definitions()
        definitions = [d for d in definitions if not (options.no_preview and "preview" in d.name)]
        scan, targets = fixtures.create_scan(server, definitions)
        rows = fixtures.smx_rows.SmxRows(*options.smx) if options.smx else None
        of_each = {f"{name}_bytes": options.budget_mb << 20 for name in ("sparse", "spots", "vector")}
        budget = fixtures.Budget(**(of_each if options.budget_mb else {}))
        job = fixtures.PublishJob(
            uuid=acquisition,
            redis_url=server.url,
            receivers=[{"name": f"r{rank}", "endpoint": endpoint} for rank, endpoint in enumerate(endpoints)],
            nb_frames=options.frames,
            rows_per_frame=rows.rows_per_frame if rows else fixtures.ROWS_PER_FRAME,
            row_counts=fixtures.smx_rows.ROW_COUNTS if rows else {},
            streams=targets,
            budget=budget,
        )
        publisher = start("-c", PUBLISHER)
        consumer = start("-c", CONSUMER, server.url, scan.key, str(options.frames))
        processes += [publisher, consumer]
        assert consumer.stdout.readline().strip() == "ready"
        say(publisher, job.model_dump_json())
        assert publisher.stdout.readline().strip() == "begun"
        for feeder in feeders:
            say(feeder, str(time.time() + 0.2))
        result = json.loads(consumer.stdout.readline())
        say(publisher, "finish")
        status = json.loads(publisher.stdout.readline())
        streams = server.store.load_scan(scan.key, scan_cls=fixtures.RedisScan).streams
        indices = streams["det:frame_index"][0 : options.frames]
        result |= {"rate_hz": options.rate, "receivers": options.receivers, "streams": len(targets)}
        result |= {"entries": server.store._redis.xlen(streams["det:timestamp"].key), "state": status["state"]}
        result |= {"lag_ms": round(status["lag_s"] * 1e3, 2), "stopped": status["stopped"]}
        result["redis_mb"] = round(server.store._redis.info("memory")["used_memory"] / 1e6)
        result["in_order"] = bool(np.array_equal(indices, np.arange(options.frames)))
        print(json.dumps(result))
        scan.stop()
        scan.close()
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.close()


if __name__ == "__main__":
    main()
