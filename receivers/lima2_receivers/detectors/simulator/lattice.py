"""Where a crystal in a given orientation diffracts to: Ewald's construction for a cubic lattice.

A lattice point q (in 1/nm) reflects when it lies on the sphere of radius 1/wavelength through the origin, centred
upstream of it; the diffracted beam then leaves along k + q. See e.g. Warren, X-ray Diffraction, ch. 2.
"""

from __future__ import annotations

import numpy as np

from lima2_receivers.detectors.simulator.params import PIXEL_SIZE_M, Diffraction, Size

#: A spot: centre [px] and expected total counts.
SPOT = np.dtype([("y", "<f8"), ("x", "<f8"), ("intensity", "<f8")])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix, uniform over all orientations (from a random unit quaternion)."""
    w, x, y, z = (quaternion := rng.normal(size=4)) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def bragg_spots(
    crystal: Diffraction, size: Size, centre: tuple[float, float], reach: int, rng: np.random.Generator
) -> np.ndarray:
    """Spots (`SPOT` rows, by y then x) of one random orientation; ``centre`` is (x, y) of the beam [px].

    Intensities follow Wilson's statistics (exponential), and fade as a Gaussian with the distance from the sphere.
    """
    wave_number = 1 / crystal.wavelength_nm
    axes = random_rotation(rng) / crystal.cell_nm
    index = np.arange(-reach, reach + 1)
    k, l = (plane.ravel() for plane in np.meshgrid(index, index, indexing="ij"))  # noqa: E741
    plane = np.outer(k, axes[1]) + np.outer(l, axes[2])
    found = []
    for h in index:  # plane by plane, which keeps the memory at reach**2
        out = plane + h * axes[0]
        out[:, 2] += wave_number
        distance = np.sqrt(np.einsum("ij,ij->i", out, out)) - wave_number
        near = np.abs(distance) < 3 * crystal.excitation_width
        if h == 0:
            near &= (k != 0) | (l != 0)
        found.append(np.column_stack([out[near], distance[near]]))
    reflected = np.concatenate(found)
    reflected = reflected[reflected[:, 2] > 1e-3 * wave_number]
    scale = crystal.distance_m / PIXEL_SIZE_M / reflected[:, 2]
    spots = np.zeros(len(reflected), SPOT)
    spots["x"] = centre[0] + reflected[:, 0] * scale
    spots["y"] = centre[1] + reflected[:, 1] * scale
    fading = np.exp(-0.5 * (reflected[:, 3] / crystal.excitation_width) ** 2)
    spots["intensity"] = crystal.spot_intensity * fading * rng.exponential(size=len(spots))
    inside = (spots["x"] > -0.5) & (spots["x"] < size.x - 0.5) & (spots["y"] > -0.5) & (spots["y"] < size.y - 0.5)
    return np.sort(spots[inside], order=("y", "x"))
