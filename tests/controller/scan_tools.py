"""What scripts of scan tests share: a small detector that numbers its images, and chains by hand."""

NUMBERED = """
from bliss.scanning.chain import AcquisitionChain, AcquisitionMaster
from bliss.scanning.scan import Scan
from bliss.scanning.toolbox import ChainBuilder
from bliss.scanning.acquisition.motor import MeshStepTriggerMaster, MotorMaster, SoftwarePositionTriggerMaster
from bliss.common.scans import DEFAULT_CHAIN

det = simulator
for each in (simulator, sim1):
    clean(each)
    each.detector.update({"size.x": 64, "size.y": 64, "stamp_frame_number": True})
    each.roi_counters.set("number", (0, 0, 1, 1))
status = (det, det.counter_groups.status)

def numbers(scan, detector="simulator"):
    "The number that is encoded in the pixels of each image."
    return [int(number) for number in scan.streams[detector + ":number_sum"][:]]

def times(scan, detector="simulator"):
    return scan.streams[detector + ":timestamp"][:]

def axis(scan, motor):
    return scan.streams["axis:" + motor][:]

def at_their_points(scan, per_point=1, detector="simulator"):
    "Each image was exposed at its point: after the scan came there, before it went on."
    came = scan.streams["timer:epoch"][:]
    taken = times(scan, detector).reshape(-1, per_point)
    return bool((taken.min(axis=1) > came).all() and (taken.max(axis=1)[:-1] < came[1:]).all())

def saved_numbers(scan, detector="simulator"):
    with h5py.File(scan.scan_info["filename"]) as file:
        return file[f"{int(scan.scan_number)}.1/instrument/{detector}/image"][:, 0, 0].tolist()

def under(master, expo_time=0.005, save=False, **parameters):
    "A scan of the detector below a master of BLISS, or alone."
    chain = AcquisitionChain()
    for node in ChainBuilder(status).get_top_level_nodes():
        node.set_parameters(acq_params={"acq_expo_time": expo_time, **parameters})
        chain.add(node) if master is None else chain.add(master, node)
    scan = Scan(chain, save=save)
    scan.run()
    return scan
"""
