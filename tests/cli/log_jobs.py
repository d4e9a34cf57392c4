"""Jobs that log by each library, with nothing set up for asyncjobs, but loguru's one line."""

import logging
import sys
import threading

import structlog
from loguru import logger as loguru

from asyncjobs import job
from asyncjobs.integrations.logging import add_job

loguru.remove()
loguru.add(sys.stderr, format="{message} {extra}")
loguru.configure(patcher=add_job)

plain = logging.getLogger("log_jobs")
direct = structlog.get_logger()
through = structlog.wrap_logger(
    logging.getLogger("log_jobs.structlog"),
    processors=[structlog.stdlib.render_to_log_kwargs],
    wrapper_class=structlog.stdlib.BoundLogger,
)


def say(where: str) -> None:
    plain.info("plain %s", where)
    direct.info(f"direct {where}")
    through.info(f"through {where}", amount=3)
    loguru.info(f"loguru {where}")


@job
async def on_loop() -> None:
    say("on_loop")


@job
def in_thread() -> None:
    say("in_thread")
    other = threading.Thread(target=plain.info, args=["outside any job"])  # no context is copied to it
    other.start()
    other.join()


@job(executor="process")
def in_process() -> None:
    say("in_process")


@job
async def own_field() -> None:
    plain.info("own field", extra={"job_kind": "mine"})
