"""After the warm-up no frame waits for a compiler."""

import numpy as np
import pytest

from lima2_receivers.kernels import warm_up
from lima2_receivers.kernels.compilation import compiled_count


def test_a_type_that_is_ready_costs_nothing():
    warm_up(["u2"])
    assert warm_up(["u2", np.dtype("u2")]) < 0.01
    assert compiled_count() > 10


@pytest.mark.parametrize("name", ["no type", "V4"])
def test_an_unknown_type_is_an_error(name):
    with pytest.raises((TypeError, ValueError)):
        warm_up([name])
