"""How the modules of a Jungfrau stand, as parameters."""

from __future__ import annotations

from pydantic import Field

from lima2_bliss.contract.parameters.strict import Parameters
from lima2_receivers.detectors.jungfrau.packets import MODULE_COLUMNS, MODULE_ROWS
from lima2_receivers.kernels.jungfrau_layout import DoublePixels, Flip, Layout


class Geometry(Parameters):
    """Grid and gaps [pixels]; a Jungfrau-4M has 4 rows, 2 columns. Module number runs down the rows first."""

    module_rows: int = Field(1, ge=1, le=16, description="modules on top of each other")
    module_columns: int = Field(1, ge=1, le=16, description="modules side by side")
    chip_gap: int = Field(2, ge=0, le=16, description="pixels between the chips of a module")
    module_gap_y: int = Field(36, ge=0, le=1024, description="pixels between modules on top of each other")
    module_gap_x: int = Field(8, ge=0, le=1024, description="pixels between modules side by side (some files have 9)")
    flip: Flip = Field("none", description="how the finished image is turned; up_down: detector mounted upside down")
    double_pixels: DoublePixels = Field("copy", description="what the wide pixels along chip borders give")

    @property
    def layout(self) -> Layout:
        """The same for the kernels."""
        return Layout(
            grid=(self.module_rows, self.module_columns),
            chip_gap=self.chip_gap,
            module_gap=(self.module_gap_y, self.module_gap_x),
            flip=self.flip,
            double_pixels=self.double_pixels,
            module_shape=(MODULE_ROWS, MODULE_COLUMNS),
        )
