"""Draws top.svg: the picture that `asyncjobs top` shows of a shop on a busy evening; its figures are made up."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from asyncjobs.cli.overview import with_paused
from asyncjobs.cli.top_figures import Figures, Rates
from asyncjobs.cli.top_screen import Picture, Place
from asyncjobs.db.reading import Counters, FailedKind, QueueRow, RunningJob, WorkerRow
from asyncjobs.jobs.pauses import Pause
from docs.images import pictures

HERE = Path(__file__).parent
WIDTH, HEIGHT = 112, 31


def job(
    n: int,
    kind: str,
    queue: str,
    seconds: float,
    *,
    attempt: int = 1,
    is_cancelled: bool = False,
    progress: tuple[float, float, str] | tuple[None, None, None] = (None, None, None),
) -> RunningJob:
    """Return a job that runs."""
    made = UUID(f"0199f3a2-{0x7C00 + 37 * n:04x}-7{n:03x}-8{(n * 977) % 4096:03x}-5d2f8e{n * 61 % 256:02x}a4c1")
    return RunningJob(made, kind, queue, attempt, UUID(int=1 + n % 2), seconds, is_cancelled, *progress)


def worker(n: int, pools: list[tuple[str, int]], running: int, up: float, report: dict[str, object]) -> WorkerRow:
    """Return a worker."""
    served = [{"queues": [queue], "concurrency": slots} for queue, slots in pools]
    about = {"host": f"shop-{n}", "pid": 7 + n, "pools": served}
    return WorkerRow(UUID(int=n), about, report, up, 0.4 * n, late=False, running=running)


def figures(pause: Pause) -> Figures:
    """Return what there is to see."""
    queues = [
        QueueRow("critical", 2, 0, 3, 0, 0.2, exact=True),
        QueueRow("default", 1_204, 87, 9, 4, 12.0, exact=True),
        QueueRow("reports", 2_000, 0, 0, 0, 3_840.0, exact=False),
    ]
    running = [
        job(1, "shop.jobs.RebuildIndex", "default", 1_312.0, progress=(61_000, 80_000, "documents")),
        job(2, "shop.jobs.ImportCatalogue", "default", 184.0, attempt=2),
        job(3, "shop.jobs.ImportCatalogue", "default", 71.0, is_cancelled=True),
        job(4, "shop.jobs.resize_pictures", "default", 8.4),
        job(5, "shop.jobs.charge", "critical", 0.6),
        job(6, "shop.jobs.send_receipt", "critical", 0.1),
    ]
    failed = [
        FailedKind("shop.jobs.charge", 14, 41.0, exact=True),
        FailedKind("shop.jobs.fetch_rates", 1, 2_580.0, exact=True),
    ]
    workers = [
        worker(1, [("critical", 4), ("default", 8)], 7, 93_600.0, {}),
        worker(
            2, [("default", 8)], 5, 93_540.0, {"blocked": {"shop.jobs.resize_pictures": {"count": 3, "longest": 0.8}}}
        ),
    ]
    return Figures(with_paused(queues, [pause]), [pause], running, failed, workers, Counters(0, 0, 0.0))


def main(directory: Path) -> None:
    """Write the picture into a directory."""
    pause = Pause(
        queue="reports", kind=None, since=datetime(2026, 3, 9, tzinfo=UTC), until=None, reason="", by="ada@shop-1"
    )
    picture = Picture(database="shop at db.internal:5432", clock="21:14:07")
    picture.show(figures(pause), Rates(61.0, 58.0, 59.0))
    picture.selected = Place("failed", "shop.jobs.charge")
    console = pictures.recorder(width=WIDTH, height=HEIGHT)
    console.print(picture.draw(HEIGHT))
    pictures.write(console, directory / "top.svg", title="asyncjobs top")


if __name__ == "__main__":
    main(HERE)
