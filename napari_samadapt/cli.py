"""The command line: what can be typed, and how mistakes are told; `commands` and `doctor` do the work.

Whatever is wrong with the input is one plain sentence on stderr and exit code 2. Nothing heavy is imported
before a command runs, so that `--help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from napari_samadapt import __version__
from napari_samadapt.imaging.errors import SamAdaptError

_EXIT_BAD_INPUT = 2


class _GuiByDefault(TyperGroup):
    """`napari-samadapt PATH` means `napari-samadapt gui PATH`, and nothing at all means `gui`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if not args or (args[0] not in self.commands and not args[0].startswith("-")):
            args = ["gui", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="napari-samadapt",
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

Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="NIfTI, NRRD, MHA or MHD, a DICOM folder, PNG, JPEG or TIFF.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="M",
        help="mini (bundled), vit_b, vit_l, vit_h (downloaded once), or a file of SAM weights, as MedSAM.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="D", help="cpu, cuda or mps; the fastest there is by default."),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        "--input-size", metavar="N", help="Side of SAM's input: 1024, 512 or 256, for all models but mini."
    ),
]
WindowName = Annotated[
    str,
    typer.Option(
        "--window",
        metavar="W",
        help='Grey values that SAM sees: auto, percentile, or a CT window: "soft tissue", lung, bone, brain.',
    ),
]
Mask = Annotated[
    Path,
    typer.Option("--out", metavar="MASK", help="Label file to write: .nii.gz, .nii, .nrrd or .mha."),
]
Prediction = Annotated[
    Path,
    typer.Option(
        "--out", metavar="PRED", help="Label file to write: the predicted ids of every slice (.nii.gz, …)."
    ),
]
Method = Annotated[
    str,
    typer.Option("--method", metavar="METHOD", help="conv-lora, lora or decoder-only."),
]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", min=0.1, help="Seconds of training; 60 unless --steps is given."),
]
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="N", min=1, help="Steps of training instead of seconds.")
]
SavedAdapter = Annotated[
    Path | None,
    typer.Option("--save", metavar="ADAPTER", help="Adapter file (.safetensors) to write as well."),
]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="REPORT.json", help="Seconds, steps, parameters and Dice, as JSON."),
]


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
) -> None:
    """Open napari with the dock, on PATH if it is given."""
    from napari_samadapt import window

    window.open_gui(path)


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
        float, typer.Option("--seconds", metavar="S", min=1, help="Seconds of learning, off screen.")
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
) -> None:
    """Segment one object on one slice from points or a box."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import ModelChoice

    commands.segment(
        image,
        slice_text=slice_,
        points=point or [],
        box=box,
        model=ModelChoice(model, device, input_size),
        label=label,
        window=window,
        out=out,
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
    model: Model = "mini",
    seconds: Seconds = None,
    steps: Steps = None,
    device: Device = None,
    input_size: InputSize = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything random.")] = 0,
    save: SavedAdapter = None,
    report: Report = None,
    window: WindowName = "auto",
) -> None:
    """Adapt SAM to a few labelled slices, and predict all slices along their axis."""
    from napari_samadapt import commands
    from napari_samadapt.arguments import AdaptOutputs, ModelChoice

    commands.adapt(
        image,
        labels,
        slices_text=slices,
        method=method,
        model=ModelChoice(model, device, input_size),
        seconds=seconds,
        steps=steps,
        seed=seed,
        window=window,
        out=AdaptOutputs(out, save, report),
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
) -> None:
    """Segment every slice of IMAGE with a saved adapter."""
    from napari_samadapt import commands

    commands.predict(image, adapter=adapter, model=model, device=device, window=window, out=out)


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Label file to judge.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Label file on the same grid.")],
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="1,2,3", help="Ids to compare; by default all of both files."),
    ] = None,
    exclude_slices: Annotated[
        str | None,
        typer.Option(
            "--exclude-slices", metavar="AXIS:I,J,K", help="Slices to leave out, as those of training."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare two label files: Dice, HD95 and ASSD (mm) and volume (ml) of every id, and their means."""
    from napari_samadapt import commands

    commands.evaluate(prediction, reference, labels=labels, exclude_slices=exclude_slices, as_json=json)


@app.command()
def doctor() -> None:
    """Show what this machine offers, and what to do about each part that is missing."""
    from napari_samadapt.doctor import print_findings

    print_findings()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 2 and one sentence on stderr when the input cannot be used."""
    try:
        app(arguments)
    except SamAdaptError as error:
        sys.stderr.write(f"napari-samadapt: {error}\n")
        sys.exit(_EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
