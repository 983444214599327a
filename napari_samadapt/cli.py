"""The command line: what can be typed; `mistakes` tells what went wrong. The commands on files are `file_commands`.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from napari_samadapt import __version__
from napari_samadapt.file_commands import adapt, evaluate, merge, predict, segment, simulate
from napari_samadapt.mistakes import told_mistakes
from napari_samadapt.options import Choose, finite

NAME = "napari-samadapt"


class _GuiByDefault(TyperGroup):
    """`napari-samadapt PATH` means `napari-samadapt gui PATH`, and nothing at all means `gui`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if not args or (args[0] not in self.commands and not args[0].startswith("-")):
            args = ["gui", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name=NAME,
    cls=_GuiByDefault,
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segment a medical volume with SAM, and adapt SAM to it while you annotate. "
    "Research use only: not a medical device. Without a command the window opens: napari-samadapt [PATH].",
    epilog="AXIS is axial, coronal or sagittal, or 0, 1, 2 of the (z, y, x) array. "
    "INDEX counts from 0 in that array. X and Y are pixels of the slice, x along its last axis.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-samadapt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def gui(
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", show_default=False, help="The volume to open.")
    ] = None,
    choose: Choose = None,
) -> None:
    """Open napari with the dock, on PATH if it is given."""
    from napari_samadapt import window
    from napari_samadapt.arguments import parse_choices

    window.open_gui(path, parse_choices(choose))


@app.command()
def demo(
    headless: Annotated[
        bool,
        typer.Option(
            "--headless", help="Run off screen, driven by a simulated annotator, also with a display."
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for what the demonstration writes.")
    ] = Path("samadapt-demo"),
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="S", min=1, callback=finite, help="Seconds of learning, off screen."
        ),
    ] = 60,
) -> None:
    """Open the bundled sample volume, ready to click; without a display, show the whole loop off screen."""
    from napari_samadapt import window

    window.run_demo(headless=headless, out=out, seconds=seconds)


for _command in (segment, adapt, predict, merge, evaluate, simulate):
    app.command()(_command)


@app.command()
def journals(
    delete_all: Annotated[
        bool, typer.Option("--delete-all", help="Delete them for good, but for those of open windows.")
    ] = False,
) -> None:
    """List the journals of work that was not saved when napari ended."""
    from napari_samadapt.journals import print_journals

    print_journals(delete_all=delete_all)


@app.command()
def doctor() -> None:
    """Show what this machine offers, and what to do about each part that is missing."""
    from napari_samadapt.doctor import print_findings

    print_findings()


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    With 2 and one sentence on stderr when the input cannot be used, with 1 and one when the program fails, with
    130 when it is interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    with told_mistakes(NAME, words):
        code = app(words, prog_name=NAME, standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
