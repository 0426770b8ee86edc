"""A hundred scans in which something goes wrong, at random under a seed: always recovers, never hangs, loses nothing.

``LIMA2_TROUBLE=COUNT[:SEED[:FIRST]]`` in the environment runs another series; it is not cut short when time is up.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

PAGE = Path(__file__).parents[2] / "doc" / "how-to" / "when_something_fails.md"
COUNT, SEED = 100, 20
#: A busy machine does as many as fit into this [s].
BUDGET_S = 75.0


def test_scans_always_recover(bliss_values):
    asked = os.environ.get("LIMA2_TROUBLE", "")
    given = [int(number) for number in asked.split(":")] if asked else []
    count, seed, first = given + [COUNT, SEED, 0][len(given) :]
    budget_s = 1e9 if asked else BUDGET_S
    (shown,) = re.findall(r"<!-- run: bliss -->\n```python\n(.*?)```", PAGE.read_text(), re.S)
    said = bliss_values(
        f"""
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import trouble
series = trouble.Series(session, {{"sim1": sim1, "simulator": simulator, "sim3": sim3}}, robx, Path(data_path))
results = series.run({seed}, {count}, {first}, {budget_s})
faults = [f"{{result}}: {{fault}}" for result in results for fault in result.faults]
say(done=len(results), faults=faults, left=series.left(), table=trouble.table(results))
{shown}
for det in (sim1, simulator, sim3):
    clean(det)
""",
        timeout_s=120 + (6 * count if asked else BUDGET_S),
    )
    print(f"seed {seed}: {said['done']} experiments from number {first} on; times in seconds")
    print(said["table"])
    assert said["faults"] == [], f"again with LIMA2_TROUBLE={count}:{seed}"
    assert said["left"] == []
    assert said["done"] >= min(5, count)
