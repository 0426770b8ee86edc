"""Sustained frames/s of the whole chain: generator, two receivers, ROI statistics, bslz4 files, streams; 1 Mpx uint16.

Diffraction images with Poisson noise (16 different ones) are replayed as fast as the receivers take them; the simulated
detector waits instead of losing frames. `memcpy_ratio` is the rate of raw pixels over the host's plain copy bandwidth.
"""

from __future__ import annotations

import threading
import time

from _harness import arguments, copy_gb_per_s, receiver_rss_mb, report, run_session, running_stack

FRAME_BYTES = 1024 * 1024 * 2
#: Buffers of a pipeline: fifo, frame store and the engine's reserve; the client keeps this many pipelines.
FIFO, STORE, RESERVE, PIPELINES = 50, 20, 16, 2

CODE = """
det = simulator
det.reset_settings()
det.detector.update({"generator.type": "diffraction", "on_overrun": "wait"})
det.processing.update({"nb_fifo_frames": FIFO, "nb_frames_buffer": STORE})
det.saving.frames_per_file = 1000
for i in range(4):
    det.roi_counters.set(f"roi{i}", (100 + 200 * i, 300, 150, 150))

def series(frames):
    return own_pace(det, frames, 0.0001, "series")

series(100)
scan, wall_s = series(FRAMES)
streams = [scan.streams["simulator:roi0_sum"], scan.streams["simulator:image"]]
status = det.last_outcome.status
answer({
    "wall_s": wall_s,
    "rows": len(streams[0]), "images": len(streams[1]),
    "processed": status.processed, "saved": status.saved, "lost": status.lost,
    "published": det.publisher.status(det.last_outcome.uuid).rows,
})
"""


def main() -> None:
    options = arguments(__doc__ or "", frames=20_000)
    rss: list[tuple[float, float]] = []
    with running_stack() as stack:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                rss.append((time.monotonic(), max(receiver_rss_mb(stack).values())))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = CODE.replace("FRAMES", str(options.frames)).replace("FIFO", str(FIFO)).replace("STORE", str(STORE))
        try:
            got = run_session(stack, code, timeout_s=1200)
        finally:
            ended.set()
            watcher.join()
    assert got["rows"] == got["published"] == got["processed"] == got["saved"] == options.frames, got
    running = [mb for at, mb in rss if at > rss[-1][0] - got["wall_s"]]
    settled = running[len(running) // 4 :]
    buffers_mb = PIPELINES * (FIFO + STORE + RESERVE) * FRAME_BYTES / 1e6
    frames_per_s = options.frames / got["wall_s"]
    gb_per_s = frames_per_s * FRAME_BYTES / 1e9
    copy = copy_gb_per_s()
    report(
        options,
        f"chain: {options.frames} frames of 1024 x 1024 uint16, saved and published",
        {
            "frames_per_s": frames_per_s,
            "gb_per_s": gb_per_s,
            "memcpy_ratio": gb_per_s / copy,
            "copy_gb_per_s": copy,
            "lost": got["lost"],
            "rss_mb": settled[-1] - buffers_mb,
            "rss_total_mb": settled[-1],
            "rss_growth_mb": settled[-1] - settled[0],
        },
    )


if __name__ == "__main__":
    main()
