"""The benchmark scripts run from start to end at a small size, and their last line has the figures they promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

SCRIPTS = {
    "chain": (["--frames", "60"], {"frames_per_s", "gb_per_s", "memcpy_ratio", "rss_mb", "rss_growth_mb"}),
    "latency": (["--frames", "60"], {"p50_ms", "p99_ms"}),
    "smx": (
        ["--quick", "1", "--repeats", "3"],
        {
            "sparsify_ms",
            "peakfind_ms",
            "frame_ms",
            "pyfai_sparsify_ms",
            "ratio_sparsify",
            "ratio_peakfind",
            "memory_bound_ms",
        },
    ),
    "smx_chain": (["--frames", "40", "--paced-frames", "40"], {"frames_per_s", "p50_ms", "p99_ms", "hit_rate"}),
    "jungfrau_correct": (
        ["--repeats", "3", "--quick", "1"],
        {"ms", "gb_per_s", "copies", "ms_2_threads", "gb_per_s_2_threads", "copies_2_threads"},
    ),
    "frame_access": (
        ["--frames", "20", "--repeats", "2"],
        {"bulk_gb_per_s", "single_per_s", "ratio_bulk_to_single"},
    ),
    "jungfrau_udp": (
        ["--frames", "20", "--rounds", "2", "--seconds", "0.2", "--steps", "1"],
        {"drain_fps", "live_fps", "lost_packets", "cpu_ms_per_frame", "ratio_to_naive"},
    ),
    "jungfrau_chain": (
        ["--seconds", "0.5", "--trial-s", "0.3", "--start-hz", "40", "--most-hz", "60"],
        {"frames_per_s", "lost_packets", "cores_all"},
    ),
    "monitor": (
        ["--delay-s", "1", "--pairs", "1", "--frames", "200", "--seconds", "0.5"],
        {"frame_to_screen_p50_ms", "frame_to_screen_p99_ms", "cpu_percent", "viewers_10_scan_slowdown"}
        | {"updates_per_s", "fetches_per_s_10_viewers", "monitor_memory_growth_mb"},
    ),
    "scan_overhead": (
        ["--points", "10", "--repeats", "2", "--series", "2", "--frames", "10"],
        {"prepare_ms", "start_ms", "ct_50ms_wall_ms", "loopscan_points_per_s", "amesh_points_per_s", "amesh_to_diode"}
        | {"back_to_back_gap_ms", "scan_gap_ms", "overlap_gain", "client_overlap_gain"},
    ),
}


@pytest.mark.stack
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_prints_its_figures_as_json(name: str, tmp_path: Path) -> None:
    options, keys = SCRIPTS[name]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--json", *options],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert keys <= figures.keys()
    assert all(isinstance(figures[key], int | float) for key in keys)
