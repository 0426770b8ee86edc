"""The BLISS controller: a detector of any number of receivers as one object of a session.

Beacon YAML::

    - plugin: generic
      package: lima2_bliss.controller
      class: Lima2Detector
      name: simulator
      control: id00/limacontrol/simulator
      receivers: [id00/limareceiver/simulator1, id00/limareceiver/simulator2]
      access: id00/limaimage/simulator
      publisher: id00/limapublisher/simulator
"""

from lima2_bliss.controller.compatibility import install_blisswriter_names
from lima2_bliss.controller.redis_sinks import install_patient_sinks

# before any scan, and before blisswriter is imported
install_blisswriter_names()
install_patient_sinks()

from lima2_bliss.controller.acquisition_objects import Lima2AcquisitionMaster  # noqa: E402
from lima2_bliss.controller.detector import Lima2Detector  # noqa: E402
from lima2_bliss.controller.jungfrau import Jungfrau  # noqa: E402
from lima2_bliss.controller.rois import ArcRoi, ProfileRoi, RectRoi  # noqa: E402
from lima2_bliss.controller.scan_request import AcqParams, ScanRequest  # noqa: E402

__all__ = [
    # the objects of a session
    "Jungfrau",
    "Lima2Detector",
    # scans
    "AcqParams",
    "Lima2AcquisitionMaster",
    "ScanRequest",
    # regions of interest
    "ArcRoi",
    "ProfileRoi",
    "RectRoi",
]
