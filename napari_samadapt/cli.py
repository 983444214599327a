"""The command line: what can be typed; `commands` and `doctor` do the work, `mistakes` tells what went wrong.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from typer.core import TyperGroup

from napari_samadapt import __version__
from napari_samadapt.mistakes import told_mistakes
from napari_samadapt.options import (
    Choice,
    Choose,
    Curve,
    Decoder,
    Device,
    EachLabel,
    Excluded,
    Ids,
    Image,
    InputSize,
    Mask,
    Method,
    Model,
    Prediction,
    Report,
    SavedAdapter,
    Seconds,
    SecondsBudget,
    Seed,
    Settings,
    SlicesBudget,
    Steps,
    Target,
    WindowName,
    WithPatient,
    finite,
)

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


@app.command()
def segment(
    image: Image,
    out: Mask,
    slice_: Annotated[
        str, typer.Option("--slice", metavar="AXIS:INDEX", help="The slice to segment, for example axial:12.")
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="X,Y,+|-",
            help="A pixel of the object (+) or of the background (-); may be given several times.",
        ),
    ] = None,
    box: Annotated[
        str | None, typer.Option("--box", metavar="X0,Y0,X1,Y1", help="A box around the object.")
    ] = None,
    model: Model = "mini",
    label: Annotated[
        int, typer.Option("--label", metavar="N", min=1, max=65535, help="The id written for the object.")
    ] = 1,
    device: Device = None,
    input_size: InputSize = None,
    window: WindowName = "auto",
    with_patient: WithPatient = False,
    choose: Choose = None,
) -> None:
    """Segment one object on one slice from points or a box."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import MaskOutput, ModelChoice, parse_choices

    commands.segment(
        image,
        slice_text=slice_,
        points=point or [],
        box=box,
        model=ModelChoice(model, device, input_size),
        label=label,
        window=window,
        out=MaskOutput(out, patient=with_patient),
        choices=parse_choices(choose),
    )


@app.command()
def adapt(
    image: Image,
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Label file on the same grid; only --slices are read.")
    ],
    slices: Annotated[
        str,
        typer.Option(
            "--slices", metavar="AXIS:I,J,K", help="The annotated slices, for example axial:5,10,14."
        ),
    ],
    out: Prediction,
    method: Method = "conv-lora",
    settings: Settings = None,
    decoder: Decoder = "detail",
    model: Model = "mini",
    seconds: Seconds = None,
    steps: Steps = None,
    device: Device = None,
    input_size: InputSize = None,
    seed: Seed = 0,
    save: SavedAdapter = None,
    report: Report = None,
    window: WindowName = "auto",
    each_label: EachLabel = False,
    with_patient: WithPatient = False,
    choose: Choose = None,
) -> None:
    """Adapt SAM to a few labelled slices, and predict all slices along their axis."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import AdaptOutputs, MaskOutput, MethodChoice, ModelChoice, parse_choices

    commands.adapt(
        image,
        labels,
        slices_text=slices,
        method=MethodChoice(method, decoder, tuple(settings or ())),
        model=ModelChoice(model, device, input_size),
        seconds=seconds,
        steps=steps,
        seed=seed,
        window=window,
        out=AdaptOutputs(MaskOutput(out, each_label, with_patient), save, report),
        choices=parse_choices(choose),
    )


@app.command()
def predict(
    image: Image,
    adapter: Annotated[
        Path, typer.Option("--adapter", metavar="ADAPTER", help="Adapter file that adapt or the dock saved.")
    ],
    out: Prediction,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="The base model, where it is a file; the adapter names the others."
        ),
    ] = None,
    device: Device = None,
    window: Annotated[
        str,
        typer.Option(
            "--window", metavar="W", help="adapter: as it was adapted; or one of the names that adapt takes."
        ),
    ] = "adapter",
    each_label: EachLabel = False,
    with_patient: WithPatient = False,
    choose: Choose = None,
) -> None:
    """Segment every slice of IMAGE with a saved adapter."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import MaskOutput, parse_choices

    commands.predict(
        image,
        adapter=adapter,
        model=model,
        device=device,
        window=window,
        out=MaskOutput(out, each_label, with_patient),
        choices=parse_choices(choose),
    )


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Label file to judge.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Label file on the same grid.")],
    labels: Ids = None,
    exclude_slices: Excluded = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    choose: Choose = None,
) -> None:
    """Compare two label files: Dice, HD95 and ASSD (mm) and volume (ml) of every id, and their means."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import parse_choices

    commands.evaluate(
        prediction,
        reference,
        labels=labels,
        exclude_slices=exclude_slices,
        as_json=json,
        choices=parse_choices(choose),
    )


@app.command()
def simulate(
    image: Image,
    reference: Annotated[
        Path,
        typer.Argument(metavar="REFERENCE", help="Label file on the same grid: what the annotator wants."),
    ],
    labels: Ids = None,
    model: Model = "mini",
    method: Method = "conv-lora",
    settings: Settings = None,
    decoder: Decoder = "detail",
    slices_budget: SlicesBudget = None,
    seconds_budget: SecondsBudget = 600,
    target: Target = 0.9,
    choice: Choice = "suggested",
    no_adapt: Annotated[
        bool, typer.Option("--no-adapt", help="The same annotator with a model that does not learn.")
    ] = False,
    axis: Annotated[
        str | None,
        typer.Option("--axis", metavar="AXIS", help="Slices of this axis; as acquired by default."),
    ] = None,
    device: Device = None,
    input_size: InputSize = None,
    seed: Seed = 0,
    report: Curve = None,
    window: WindowName = "auto",
    choose: Choose = None,
) -> None:
    """Let a simulated annotator segment IMAGE while SAM learns: Dice against seconds and clicks.

    A click costs 1.5 s, a box 4 s, a brush 2 s and 1 s for 100 pixels, accepting a slice 1 s. Learning gets the same
    seconds of computing, so this takes about as long as it simulates.
    """
    from napari_samadapt import commands
    from napari_samadapt.arguments import MethodChoice, ModelChoice, parse_choices

    commands.simulate(
        image,
        reference,
        labels=labels,
        model=ModelChoice(model, device, input_size),
        method=MethodChoice(method, decoder, tuple(settings or ())),
        choice=choice,
        slices=slices_budget,
        seconds=seconds_budget,
        target=target,
        adapts=not no_adapt,
        seed=seed,
        axis=axis,
        window=window,
        report=report,
        choices=parse_choices(choose),
    )


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
