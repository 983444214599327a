"""The commands that work on files, without a window: what can be typed after each. `commands` does the work.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

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
)


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


def merge(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="Adapter file that adapt or the dock saved.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="SAM.pth",
            help="Checkpoint to write; any program that reads SAM reads it. NAME.safetensors writes an adapter of "
            "cobot-adaptformer as a plain one of adaptformer.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="The base model, where it is a file; the adapter names the others."
        ),
    ] = None,
) -> None:
    """Write a plain SAM checkpoint with the adapter merged into its weights."""
    from napari_samadapt import commands

    commands.merge(adapter, model=model, out=out)


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
