"""How kernels are compiled: single-threaded, without the GIL, kept on disk so that only the first start pays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba

logger = logging.getLogger(__name__)

_dispatchers: list[Any] = []

#: Floating-point sums may be reordered (for SIMD); NaN and infinity keep their meaning.
REORDERED = {"reassoc", "contract"}


def kernel(fastmath: set[str] | bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on first use with each type; it releases the GIL and is cached on disk.

    Slice arrays before a hot loop and count from 0: LLVM then vectorises it (a loop over ``flat[i]`` from a
    variable start has to allow for negative indices and is 5 to 25 times slower).
    """

    def compiled(function: Callable[..., Any]) -> Any:
        options = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
        except RuntimeError as error:  # neither the package's nor the user's directory can be written
            logger.warning(
                "kernels are compiled at every start (set NUMBA_CACHE_DIR to a writable directory): %s", error
            )
            dispatcher = numba.njit(**options)(function)
        _dispatchers.append(dispatcher)
        return dispatcher

    return compiled


def compiled_count() -> int:
    """How many specialisations of all kernels are compiled or loaded in this process."""
    return sum(len(dispatcher.signatures) for dispatcher in _dispatchers)
