"""References: arguments that are stored as a key and loaded again before the job runs (Rails' GlobalID)."""

from __future__ import annotations

import inspect
import typing
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncjobs.checks.signatures import parameters_of
from asyncjobs.checks.texts import cut
from asyncjobs.exceptions import DeserializationError, InvalidDefinition, RecordNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ObjectT = TypeVar("ObjectT")
KeyT = TypeVar("KeyT")

MISSING: Any = inspect.Parameter.empty


class NoKey(ValueError):
    """An object that cannot be stored as a key yet.

    Attributes:
        value: The object, so that its place in the arguments can be named.
    """

    def __init__(self, value: object, text: str) -> None:
        self.value = value
        super().__init__(text)


class Reference(Generic[ObjectT, KeyT]):
    """The functions that turn objects of one class into keys and back."""

    __slots__ = ("cls", "dump", "key", "load")

    def __init__(
        self,
        cls: type[ObjectT],
        dump: Callable[[ObjectT], KeyT],
        load: Callable[[KeyT], ObjectT | Awaitable[ObjectT | None] | None],
        key: Any,
    ) -> None:
        self.cls = cls
        self.dump = dump
        self.load = load
        self.key = key

    def key_of(self, value: ObjectT) -> KeyT:
        """Return the key to store; raise NoKey if `dump` fails or gives None, which would come back as "no object"."""
        name = self.cls.__qualname__
        try:
            key = self.dump(value)
        except Exception as error:
            text = (
                f"dump of {name} raised {type(error).__qualname__}; correct it, save the object first, or load it again "
                "(refresh) if its session has expired it"
            )
            raise NoKey(value, text) from error
        if key is None:
            raise NoKey(value, f"this {name} has no key yet; save or flush it before making the job")
        return key

    async def fetch(self, key: KeyT) -> ObjectT:
        """Return the object of a stored key.

        Raises:
            RecordNotFound: `load` gave None or raised a LookupError.
            DeserializationError: `load` raised another exception, which is the cause.
        """
        named = f"the {self.cls.__qualname__} of a stored key"  # without the key, an argument that others must not read
        try:
            found: Any = self.load(key)
            if inspect.isawaitable(found):
                found = await found
        except LookupError as error:
            raise RecordNotFound(f"{named} does not exist any more") from error
        except DeserializationError:
            raise
        except Exception as error:
            cause = cut(f"{type(error).__qualname__}: {error}", 300)
            raise DeserializationError(f"{named} could not be loaded: {cause}") from error
        if found is None:
            raise RecordNotFound(f"{named} does not exist any more")
        return typing.cast("ObjectT", found)


class StoredKey:
    """A key read from a row, in the place of the object that `resolve` will load."""

    __slots__ = ("key", "reference")

    def __init__(self, reference: Reference[Any, Any], key: Any) -> None:
        self.reference = reference
        self.key = key


_references: dict[type, Reference[Any, Any]] = {}


def register_reference(
    cls: type[ObjectT],
    *,
    dump: Callable[[ObjectT], KeyT],
    load: Callable[[KeyT], ObjectT | Awaitable[ObjectT | None] | None],
    key: Any = MISSING,
) -> None:
    """Store arguments annotated `cls` as a key, and load them again before the job runs.

    ```python
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=Cloud.find)
    ```

    Holds for a parameter or field annotated `Cloud`, `Cloud | None`, `list[Cloud]`, `dict[str, Cloud]` or a tuple of
    these, not for the fields of a dataclass or model that is itself an argument. Register before the first use of a
    job that has such a parameter: its codec is compiled then. Registering a class again replaces its reference.

    Args:
        cls: The class; instances of its subclasses are accepted too, and loaded through this reference.
        dump: Returns the key of an object; called when the job is made and when it is stored. None means "not saved yet"
            and is refused.
        load: Returns the object of a key, `async def` or `def`. It returns None or raises a LookupError when the record is
            gone (`RecordNotFound`); any other exception becomes a `DeserializationError`, so that it can be retried.
        key: Type of the key, such as `int` or `UUID`; by default the annotation of `load`'s parameter, else plain JSON.
    """
    if not isinstance(cls, type):
        raise InvalidDefinition(f"register_reference: {cls!r} is no class; pass the class that is used in annotations")
    for name, function in (("dump", dump), ("load", load)):
        if not callable(function):
            raise InvalidDefinition(f"register_reference({cls.__qualname__}): {name} is not callable; pass a function")
    _references[cls] = Reference(cls, dump, load, _key_type(load) if key is MISSING else key)


def reference_for(cls: Any) -> Reference[Any, Any] | None:
    """Return the reference of exactly this class; None: it has none."""
    return _references.get(cls) if isinstance(cls, type) else None


def _key_type(load: Callable[..., Any]) -> Any:
    """Return the annotation of the first parameter of `load`; MISSING if there is none or it cannot be resolved."""
    try:
        function = load if inspect.isroutine(load) else type(load).__call__
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(parameters_of(load).values())
    except (NameError, TypeError, ValueError):
        return MISSING
    return hints.get(parameters[0].name, MISSING) if parameters else MISSING


async def resolve(value: Any) -> Any:
    """Return `value` with every StoredKey in it loaded, one after the other: loaders often share one session.

    Lists and dicts are changed in place, because `load` has just made them.
    """
    if isinstance(value, StoredKey):
        return await value.reference.fetch(value.key)
    if isinstance(value, tuple | set | frozenset):
        items = [await resolve(item) for item in value]
        return type(value)(items)
    if isinstance(value, dict):
        for name, item in value.items():
            value[name] = await resolve(item)
    elif isinstance(value, list | deque):
        for index, item in enumerate(value):
            value[index] = await resolve(item)
    return value
