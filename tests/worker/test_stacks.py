"""Where an event loop's code stands, seen from another thread."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from asyncjobs.worker.watching.stacks import Frames, frames_of, place_of


class Seen:
    """What a thread saw of a loop, once the loop's code let it look."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.base: Any = None
        self.frames: Frames = ()

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from another thread; called by the code that is looked at."""

        def look() -> None:
            self.frames = frames_of(self.thread, asyncio.current_task(loop), self.base)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()


def seen(main: Callable[[Seen], Coroutine[Any, Any, None]], factory: Callable[[], asyncio.AbstractEventLoop]) -> Frames:
    result = Seen()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().call_soon(lambda: setattr(result, "base", sys._getframe(1).f_code))
        runner.run(main(result))
    return result.frames


async def user_function(found: Seen) -> None:
    found.look(asyncio.get_running_loop())


async def user_calls_a_library(found: Seen) -> None:
    loop = asyncio.get_running_loop()
    json.loads('{"a": 1}', object_hook=lambda _: found.look(loop))


async def in_a_callback(found: Seen) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def called_back() -> None:
        found.look(loop)
        done.set_result(None)

    loop.call_soon(called_back)
    await done


async def waiting(found: Seen) -> None:
    loop = asyncio.get_running_loop()
    looked = loop.create_future()

    def look() -> None:
        while asyncio.current_task(loop) is not None:
            pass
        found.frames = frames_of(found.thread, None, found.base)
        loop.call_soon_threadsafe(looked.set_result, None)

    thread = threading.Thread(target=look)
    thread.start()
    await looked
    thread.join()


both_loops = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])


@both_loops
@pytest.mark.parametrize(
    ("main", "function"),
    [(user_function, "user_function"), (user_calls_a_library, "<lambda>"), (in_a_callback, "called_back")],
)
def test_it_is_the_innermost_line_that_is_no_librarys(main, function, factory) -> None:
    frames = [
        found for found in seen(main, factory) if found[0].f_code.co_name not in ("look", "start", "join", "wait")
    ]
    place = place_of(frames)
    assert (place.path, place.function) == (__file__, function)
    assert "run_until_complete" not in place.stack


@both_loops
def test_a_loop_that_waits_for_events_stands_nowhere(factory) -> None:
    assert [frame.f_code.co_name for frame, _ in seen(waiting, factory)] == []


def test_a_deep_stack_is_shown_from_its_inner_end() -> None:
    def deeper(levels: int) -> Any:
        return deeper(levels - 1) if levels else sys._getframe()

    frame, frames = deeper(200), []
    while frame is not None and frame.f_code.co_name == "deeper":
        frames.insert(0, (frame, frame.f_lineno))
        frame = frame.f_back
    assert place_of(frames).stack.count("in deeper") <= 50


def test_where_everything_is_a_librarys_it_is_the_outermost_function() -> None:
    found: list[Any] = []
    json.loads("{}", object_hook=lambda _: found.append(sys._getframe(1)))
    frames = []
    frame = found[0]
    while frame.f_code.co_filename.endswith(("json/decoder.py", "json/__init__.py")):
        frames.insert(0, (frame, frame.f_lineno))
        frame = frame.f_back
    assert place_of(frames).function == "loads"


def test_what_a_namedtuple_generates_is_nobodys_line() -> None:
    here, found = sys._getframe(), []
    sys.settrace(lambda frame, *_: found.append(frame) if frame.f_code.co_filename == "<string>" else None)
    try:
        place_of([(here, here.f_lineno)])  # makes one
    finally:
        sys.settrace(None)
    [generated] = found
    ours = generated.f_back
    assert place_of([(ours, 1), (generated, 1)]).function == "place_of"
