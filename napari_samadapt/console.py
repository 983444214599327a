"""What commands show on a terminal: progress on stderr, results on stdout."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from napari_samadapt.imaging.metrics import LabelReport
    from napari_samadapt.session.simulation import SimulationReport

_CURVE_ROWS = 12


class Bars:
    """Progress bars by name; a bar appears when it is first told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: float, total: float) -> None:
        """Set the bar `name` to `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Bars on stderr while the block runs; where stderr is no terminal only their last state is printed."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)


def tell(text: str) -> None:
    """Print a result line on stdout, as it is: no markup, no wrapping."""
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


def note(text: str) -> None:
    """Print a line for the user on stderr."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


def print_report(report: "LabelReport") -> None:
    """Print agreement id by id and the means, as a table on stdout."""
    table = Table("label", "Dice", "HD95 mm", "ASSD mm", "volume ml", "reference ml")
    for column in table.columns:
        column.justify = "right"
    for row in report.rows:
        numbers = (row.dice, row.hd95_mm, row.assd_mm, row.volume_ml, row.reference_volume_ml)
        table.add_row(str(row.id), f"{numbers[0]:.3f}", *(f"{number:.2f}" for number in numbers[1:]))
    table.add_section()
    means = (f"{report.mean_dice:.3f}", f"{report.mean_hd95_mm:.2f}", f"{report.mean_assd_mm:.2f}")
    table.add_row("mean", *means, "", "")
    Console().print(table)
    if report.missed:
        tell(f"Only one of the two files holds {', '.join(map(str, report.missed))}: no distance there.")


def print_simulation(report: "SimulationReport") -> None:
    """Print the curve of a simulated annotation, thinned to a few rows, as a table on stdout, and how it ended."""
    table = Table("seconds", "slices", "boxes", "clicks", "painted pixels", "adapter", "Dice")
    for column in table.columns:
        column.justify = "right"
    last = len(report.points) - 1
    rows = min(last, _CURVE_ROWS - 1)
    for index in sorted({last - row * last // max(1, rows) for row in range(rows + 1)}):
        point = report.points[index]
        counts = (point.slices, point.boxes, point.clicks, point.painted_pixels, point.adapter)
        table.add_row(f"{point.seconds:.0f}", *map(str, counts), f"{point.dice:.3f}")
    Console().print(table)
    for sentence in report.failures:
        note(sentence)
    target, reached = report.plan.target, report.reached
    after = f"reached after {reached.seconds:.0f} s" if reached else "not reached"
    tell(f"Dice {target:g} over the volume: {after}; at the end {report.points[-1].dice:.3f}")
