"""Runs when the session `demo` starts."""

from bliss.setup_globals import *  # noqa: F403

print("")
print("Session demo: motors robx, roby; counter diode; detector simulator; measurement group MG1.")
print("Try: simulator          ct(0.1, simulator)          loopscan(20, 0.01, MG1)")
print("")
