"""`Parameter`: one argument of a job, with its annotation and default."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from asyncjobs.values.references import MISSING


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a job.

    Attributes:
        name: Also its key in the stored JSON.
        annotation: MISSING (`inspect.Parameter.empty`) for plain JSON.
        default: MISSING if it must be given. Mutable values are copied for every job.
        default_factory: Makes the default instead.
        positional: Whether it may be given by position.
        positional_only: Whether the function takes it by position only; jobs also take it by name.
    """

    name: str
    annotation: Any = MISSING
    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    positional: bool = True
    positional_only: bool = False

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING and self.default_factory is None
