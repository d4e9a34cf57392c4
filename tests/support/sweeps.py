"""Sweeps of parameters, of which the usual run takes a part and `-m slow` all."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest


def slowly(*values: Any) -> list[Any]:
    """Values of a parameter that only `-m slow` runs."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def crossed(*sides: Mapping[str, Any]) -> list[Any]:
    """Every combination of sides with two values each; in the usual run half of them, where every two of such values meet."""
    found = []
    for numbered in product(*(enumerate(side.items()) for side in sides)):
        marks = [pytest.mark.slow] if sum(number for number, _ in numbered) % 2 else []
        names, values = zip(*(item for _, item in numbered), strict=True)
        found.append(pytest.param(*values, id="-".join(names), marks=marks))
    return found
