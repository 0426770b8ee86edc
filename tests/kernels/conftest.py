"""What the tests of the kernels share: `smx_frames` can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # smx_frames
