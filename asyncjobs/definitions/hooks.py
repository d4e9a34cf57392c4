"""Declared callbacks: user code around enqueueing and performing, and after a job is discarded or has failed.

Order: middleware is outermost, then base classes, then derived ones, each in the order of the source. Hooks after a call run
in the reverse order, as the ends of nested blocks do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

from asyncjobs.checks.decorator_marks import is_method, marks_on
from asyncjobs.checks.signatures import check_method, check_takes
from asyncjobs.exceptions import InvalidDefinition

Point = Literal[
    "before_enqueue",
    "after_enqueue",
    "around_enqueue",
    "before_perform",
    "after_perform",
    "around_perform",
    "after_discard",
]
POINTS: tuple[Point, ...] = get_args(Point)
_MORE: dict[Point, tuple[str, ...]] = {
    "around_enqueue": ("call",),
    "around_perform": ("call",),
    "after_discard": ("the error",),
}
"""Arguments of a hook beside the job, by its point."""
Hook = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__asyncjobs_points__"


def before_enqueue(method: F) -> F:
    """Call this method `(self)` before the job's row is inserted; an error stops the enqueue and reaches the caller.

    After 5 seconds the method is cut off with a `TimeoutError`. For a function job: ``@send_welcome.before_enqueue``, with
    the job as its argument. `enqueue_all` calls it for each job.
    """
    return _marked(method, "before_enqueue")


def after_enqueue(method: F) -> F:
    """Call this method `(self)` once the job's row is inserted; an error is logged and changes nothing.

    In the caller's own transaction (``connection=``) it is called before the commit.
    """
    return _marked(method, "after_enqueue")


def around_enqueue(method: F) -> F:
    """Enqueue inside this method `(self, call)`, at its ``await call()``; without the call, the job is not enqueued.

    An error after the call is logged and changes nothing; 5 seconds after the call the method is cut off.
    """
    return _marked(method, "around_enqueue")


def before_perform(method: F) -> F:
    """Call this method `(self)` before `perform`; an error is the attempt's, as if `perform` had raised it."""
    return _marked(method, "before_perform")


def after_perform(method: F) -> F:
    """Call this method `(self)` after `perform` has returned; an error is logged, and the job has succeeded.

    After 5 seconds the method is cut off; the job's `timeout` is for `perform` alone.
    """
    return _marked(method, "after_perform")


def around_perform(method: F) -> F:
    """Perform inside this method `(self, call)`, at its ``await call()``, which returns the result.

    Without the call, the job succeeds with None; when the call has failed, it may be made again. An error after the job has
    run is logged and changes nothing; 5 seconds after the call the method is cut off.
    """
    return _marked(method, "around_perform")


def after_discard(method: F) -> F:
    """Call this method `(self, error)` when the job ends for good without success: discarded, retries used up, or failed.

    It runs before that is stored; an error is logged and changes nothing.
    """
    return _marked(method, "after_discard")


def _marked(method: F, point: Point) -> F:
    if not is_method(method):
        raise InvalidDefinition(f"@{point} decorates a method or a function, not {type(method).__name__}")
    setattr(method, _MARK, (*getattr(method, _MARK, ()), point))
    return method


def check_hooks(cls: type, name: str, root: type) -> None:
    """Refuse hooks with the wrong parameters.

    Raises:
        InvalidDefinition: A method of the class, or of a base, does not take the arguments of its hook.
    """
    for base in cls.__mro__:
        if base in root.__mro__:
            continue
        for attribute, value in vars(base).items():
            for point in marks_on(value, _MARK):
                check_method(cls, attribute, f"{name}: @{point}", *_MORE.get(point, ()))


def add_hook(job_class: type[Any], point: Point, hook: Hook) -> None:
    """Add a hook to a function's job, called after the hooks that it has."""
    if not callable(hook) or isinstance(hook, type):
        raise InvalidDefinition(f"{point} decorates a function, not {type(hook).__name__}")
    check_takes(hook, point, "the job", *_MORE.get(point, ()))
    job_class._function_hooks.setdefault(point, []).append(hook)
    job_class._definition.__dict__.pop("hooks", None)


@dataclass(frozen=True)
class Hooks:
    """The hooks of one definition, in the order in which they are called; the outermost `around` first."""

    before_enqueue: tuple[Hook, ...] = ()
    after_enqueue: tuple[Hook, ...] = ()
    around_enqueue: tuple[Hook, ...] = ()
    before_perform: tuple[Hook, ...] = ()
    after_perform: tuple[Hook, ...] = ()
    around_perform: tuple[Hook, ...] = ()
    after_discard: tuple[Hook, ...] = ()

    @cached_property
    def on_enqueue(self) -> bool:
        """Whether there are hooks of enqueueing."""
        return bool(self.before_enqueue or self.after_enqueue or self.around_enqueue)

    @cached_property
    def on_perform(self) -> bool:
        """Whether there are hooks of performing."""
        return bool(self.before_perform or self.after_perform or self.around_perform)

    def within(self, middleware: Sequence[Any]) -> Hooks:
        """Return these hooks inside those of `middleware`, whose first is the outermost."""
        if not middleware:
            return self
        outer: dict[Point, list[Hook]] = {
            point: [hook for layer in middleware if (hook := getattr(layer, point, None)) is not None]
            for point in POINTS
        }
        return Hooks(**{point: _joined(point, outer[point], getattr(self, point)) for point in POINTS})


def hooks_of(job_class: type[Any]) -> Hooks:
    """Return the hooks of a class and its bases, or of the function that the class was made for."""
    found: dict[Point, dict[Any, Hook]] = {point: {} for point in POINTS}
    for cls in reversed(job_class.__mro__):
        for name, value in vars(cls).items():
            for point in marks_on(value, _MARK):
                found[point][name] = _by_name(name)  # an override takes the place of the method it overrides
        for point, functions in vars(cls).get("_function_hooks", {}).items():
            found[point].update((id(function), function) for function in functions)
    return Hooks(**{point: _joined(point, list(found[point].values()), ()) for point in POINTS})


def _joined(point: Point, outer: Sequence[Hook], inner: Sequence[Hook]) -> tuple[Hook, ...]:
    if point.startswith("after"):
        return (*inner, *reversed(outer))
    return (*outer, *inner)


def _by_name(name: str) -> Hook:
    def call(job: Any, *arguments: Any) -> Any:
        return getattr(job, name)(*arguments)

    return call
