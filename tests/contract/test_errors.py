"""Errors: builtin leaves, and their way over the wire and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lima2_bliss.contract import (
    ConnectionLostError,
    Lima2Error,
    NotAvailableError,
    ParameterError,
    SavingError,
    StateError,
    error_from_json,
)


@pytest.mark.parametrize(
    ("leaf", "builtin"),
    [
        (ParameterError, ValueError),
        (StateError, RuntimeError),
        (SavingError, OSError),
        (ConnectionLostError, ConnectionError),
        (NotAvailableError, LookupError),
    ],
)
def test_each_leaf_is_also_the_builtin(leaf: type[Lima2Error], builtin: type[Exception]) -> None:
    assert issubclass(leaf, builtin)
    assert issubclass(leaf, Lima2Error)


@given(st.text(min_size=1), st.dictionaries(st.sampled_from(["receiver", "path", "uuid"]), st.text()))
def test_an_error_comes_back_as_the_same_leaf_with_its_details(what: str, errinfo: dict[str, str]) -> None:
    back = error_from_json(SavingError(what, **errinfo).to_json())
    assert type(back) is SavingError
    assert str(back) == what
    assert back.errinfo == errinfo


@given(st.text())
def test_any_other_text_becomes_an_error_with_that_text(text: str) -> None:
    assert isinstance(error_from_json(text), Lima2Error)
