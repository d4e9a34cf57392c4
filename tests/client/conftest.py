from __future__ import annotations

import pytest
import stopping


@pytest.fixture
def gate() -> None:
    """A closed gate of this test's own, and nothing that has run; see `stopping`."""
    stopping.begin()
