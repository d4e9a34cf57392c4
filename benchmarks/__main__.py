"""`python -m benchmarks [names] [--runs 5]`: ask the questions of the named files, or all but the floor's and the peers'."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
import sys
from pathlib import Path

import uvloop

from benchmarks import report
from benchmarks.question import Answer, Question, ask
from benchmarks.server import bench_server

FILES = ("drain", "failing", "enqueue", "latency", "backlog", "snapshot", "sleepers", "memory", "priorities", "imports",
         "steps", "live", "fleet", "batches", "order", "seeing")  # fmt: skip
BY_NAME_ONLY = ("floor", "peers")
"""The floor alone, and what needs other packages and ten minutes."""


def main() -> int:
    """Ask, print, and write RESULTS.md. 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*FILES, *BY_NAME_ONLY, []], help=f"of {', '.join((*FILES, *BY_NAME_ONLY))}"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each side; the median counts (default 5)")
    parser.add_argument(
        "--output", type=Path, default=report.RESULTS, help="the report (default benchmarks/RESULTS.md)"
    )
    options = parser.parse_args()
    modules = [importlib.import_module(f"benchmarks.{name}") for name in options.names or FILES]
    questions = [question for module in modules for question in module.QUESTIONS]
    answers = uvloop.run(_run(questions, options))
    print()
    for answer in answers:
        print("\n".join(report.summary(answer)))
    return 1 if any(answer.failure for answer in answers) else 0


async def _run(questions: list[Question], options: argparse.Namespace) -> list[Answer]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that the server is cleaned up
    answers: list[Answer] = []
    async with bench_server() as bench:
        machine = report.surroundings(await bench.postgres_version())
        print(machine)
        for question in questions:
            print(f"{question.name}: {question.asks}", flush=True)
            answers.append(await ask(question, bench, options.runs, lambda text: print(text, flush=True)))
            command = "python -m benchmarks " + " ".join(sys.argv[1:])
            report.write(answers[-1:], command=command.strip(), machine=machine, path=options.output)
    return answers


if __name__ == "__main__":
    sys.exit(main())
