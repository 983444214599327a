"""The arguments and options that commands share: how they are spelled and what --help says of them."""

import math
from pathlib import Path
from typing import Annotated

import typer

from napari_samadapt.imaging.questions import QUESTIONS
from napari_samadapt.learning.method_texts import DECODER_TEXTS, METHOD_TEXTS


def finite(value: float | None) -> float | None:
    """A lower bound alone lets NaN and infinity pass."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number of seconds.")
    return value


_HIGHEST_SEED = 2**32 - 1

Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="NIfTI, NRRD, MHA or MHD, a DICOM folder, PNG, JPEG or TIFF.")
]
Choose = Annotated[
    list[str] | None,
    typer.Option(
        "--choose",
        metavar="QUESTION=ANSWER",
        help="What to do where a file can be read in several ways; the message that asks names the answers. "
        f"Questions: {', '.join(QUESTIONS)}. May be given several times, and holds for every file that is read.",
    ),
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
    typer.Option(
        "--out", metavar="MASK", help="Label file to write: .nii.gz, .nii, .nrrd, .mha, or .dcm (DICOM-SEG)."
    ),
]
Prediction = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="PRED",
        help="Label file to write: the predicted ids of every slice (.nii.gz, .nrrd, .mha, .dcm, …).",
    ),
]
EachLabel = Annotated[
    bool,
    typer.Option("--each-label", help="A file for each label instead of one: PRED_ID_NAME, holding 0 and 1."),
]
WithPatient = Annotated[
    bool,
    typer.Option(
        "--with-patient", help="Copy name, number and study into a .dcm; they are left out otherwise."
    ),
]
Method = Annotated[
    str,
    typer.Option("--method", metavar="METHOD", help=f"{', '.join(METHOD_TEXTS)}."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="An option of the method (rank=4, preset=official, blocks=0,1, ...); may be given several times.",
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        "--decoder",
        metavar="D",
        help=f"What finds all classes of a slice without prompts: {', '.join(DECODER_TEXTS)}.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        min=0.1,
        callback=finite,
        help="Seconds of training; 60 unless --steps is given.",
    ),
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
Ids = Annotated[
    str | None,
    typer.Option("--labels", metavar="1,2,3", help="Ids to look at; by default all that there are."),
]
Excluded = Annotated[
    str | None,
    typer.Option("--exclude-slices", metavar="AXIS:I,J,K", help="Slices to leave out, as those of training."),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, max=_HIGHEST_SEED, help="Seed of everything random.")
]
SlicesBudget = Annotated[
    int | None,
    typer.Option("--slices-budget", metavar="N", min=1, help="Slices to annotate; all by default."),
]
SecondsBudget = Annotated[
    float,
    typer.Option(
        "--seconds-budget", metavar="S", min=1, callback=finite, help="Simulated seconds of annotating."
    ),
]
Target = Annotated[
    float, typer.Option("--target", metavar="D", help="End at this mean Dice of the volume, at most 1.")
]
Choice = Annotated[
    str, typer.Option("--choice", metavar="C", help="The next slice: suggested, uniform or random.")
]
Curve = Annotated[
    Path | None,
    typer.Option("--report", metavar="R.json", help="Settings, totals and the curve, as JSON."),
]
