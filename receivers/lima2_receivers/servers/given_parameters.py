"""The parameters that clients write to a receiver before they prepare it."""

from __future__ import annotations

import json

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import AcquisitionParameters, Parameters, parse
from lima2_receivers.engine.receiver import ReceiverEngine
from lima2_receivers.servers.schemas import ACQ_PARAMS, PROC_PARAMS


class GivenParameters:
    """The parameters that a client wrote last, and what was wrong with them."""

    def __init__(self, engine: ReceiverEngine) -> None:
        self._engine = engine
        self.acquisition: AcquisitionParameters = engine.plugin.parameters()
        self.processing: Parameters = next(iter(engine.pipeline_classes.values())).parameters()
        self._refused: set[str] = set()

    def give_acquisition(self, text: str) -> None:
        """Check and remember acquisition parameters."""
        self._refused.add(ACQ_PARAMS)
        self.acquisition = self._engine.check_acquisition(text)
        self._refused.discard(ACQ_PARAMS)

    def give_processing(self, text: str) -> None:
        """Check and remember processing parameters. Those of a refused acquisition are checked on their own."""
        if ACQ_PARAMS in self._refused:
            self._check_alone(text)
            return
        self._refused.add(PROC_PARAMS)
        self.processing = self._engine.check_processing(text)
        self._refused.discard(PROC_PARAMS)

    def require_accepted(self) -> None:
        """`ParameterError` when the parameters given last were refused."""
        if self._refused:
            raise ParameterError(f"{' and '.join(sorted(self._refused))} written last were refused; write them again")

    def _check_alone(self, text: str) -> None:
        try:
            class_name = json.loads(text).get("class_name", type(self.processing)().class_name)  # type: ignore[attr-defined]
            pipeline = self._engine.pipeline_classes[class_name]
        except (ValueError, AttributeError, KeyError):
            return  # the engine says it best, once the acquisition parameters are right
        parse(pipeline.parameters, text, "processing parameters")
