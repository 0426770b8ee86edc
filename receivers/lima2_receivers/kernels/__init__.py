"""Computations on pixels, each as plain NumPy reference and as compiled single-threaded code without the GIL."""

from lima2_receivers.kernels.accumulation import add_frame, copy_sum, finish_sum, partial_sum_dtype, set_sum
from lima2_receivers.kernels.correction import correct, corrected_dtype, gain_of, mask_to_zero
from lima2_receivers.kernels.countrate import first_above, integer_limit
from lima2_receivers.kernels.geometry import Placement, placement_of, transform_frame
from lima2_receivers.kernels.profiles import Profile, make_profile, profile_statistics
from lima2_receivers.kernels.regions import ArcRoi, Regions, arc_mask, find_regions
from lima2_receivers.kernels.statistics import STATISTICS, region_statistics
from lima2_receivers.kernels.warm_up import COMMON, warm_up
from lima2_receivers.kernels.widening import sum_dtype

__all__ = [
    # getting ready
    "COMMON",
    "warm_up",
    # correction and protection
    "correct",
    "corrected_dtype",
    "first_above",
    "gain_of",
    "integer_limit",
    "mask_to_zero",
    # geometry
    "Placement",
    "placement_of",
    "transform_frame",
    # sums
    "add_frame",
    "copy_sum",
    "finish_sum",
    "partial_sum_dtype",
    "set_sum",
    "sum_dtype",
    # statistics
    "ArcRoi",
    "Profile",
    "Regions",
    "STATISTICS",
    "arc_mask",
    "find_regions",
    "make_profile",
    "profile_statistics",
    "region_statistics",
]
