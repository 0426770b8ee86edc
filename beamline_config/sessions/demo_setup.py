"""Runs when the session `demo` starts."""

import os

from bliss.setup_globals import *  # noqa: F403

if "LIMA2_DATA" in os.environ:  # the embedded stack says where data go
    SCAN_SAVING.base_path = os.environ["LIMA2_DATA"]  # noqa: F405

print("")
print("Session demo: motors robx, roby; counter diode; detector simulator; measurement group MG1.")
print("Try: simulator          ct(0.1, simulator)          loopscan(20, 0.01, MG1)")
print("")
