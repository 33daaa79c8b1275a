"""How much of a test is left out with the slow tests."""

from typing import Any

import hypothesis
import pytest


def at_most(n_examples: int) -> hypothesis.settings:
    """No more examples than this, and fewer where slow tests are left out."""
    return hypothesis.settings(max_examples=min(n_examples, hypothesis.settings.default.max_examples))


def first(n: int, *values: Any) -> list[Any]:
    """Values of a parameter, of which all after the first `n` are for slow tests."""
    return [*values[:n], *(pytest.param(value, marks=pytest.mark.slow) for value in values[n:])]
