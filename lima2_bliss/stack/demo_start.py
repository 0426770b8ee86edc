"""What both sessions of the demo begin with."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any


def say(line: str) -> None:
    """One line to the demo, and by it to the person who runs it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_session() -> Any:
    """BLISS session ``demo``, set up; its data go to the directory that the demo has named."""
    from bliss.common import axis  # it shows every deprecation once; what libraries deprecate is not the demo's matter
    from bliss.config import static

    assert axis
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    session = static.get_config().get("demo")
    session.setup()
    session.scan_saving.base_path = os.environ["LIMA2_DATA"]
    return session
