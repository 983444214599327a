"""What napari's menus call: the reader, the writer of masks and the sample data.

napari imports this module to open a file or a menu entry, so everything heavy is imported inside the
functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import holds_dicom

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_samadapt.imaging.volume import Volume

LayerTuple = tuple[Any, dict[str, Any], str] | tuple[None]
NO_LAYER: LayerTuple = (None,)
"""What a reader gives napari when there is nothing to show."""
VOLUME_KEY = (
    "napari-samadapt volume"  # layer.metadata entry of an image or mask that lies on one of our volumes
)
DISPLAYED_KEY = "napari-samadapt displayed"  # layer.data -> (z, y, x) ids: what is seen, with the prediction
NAMES_KEY = "napari-samadapt names"  # layer.metadata entry {label id: class name} of a mask
_SAMPLES = {
    "ct": "sample_ct.nii.gz",
    "mr": "sample_mr.nii.gz",
    "ultrasound": "sample_ultrasound.png",
}


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """npe2 reader: a function that reads `path`, or None for a stack of paths or a folder without DICOM
    files.
    """
    if not isinstance(path, str | Path):
        return None
    try:
        if Path(path).is_dir() and not holds_dicom(Path(path)):
            return None
    except OSError:
        pass  # reading it will tell why
    return read_layers


def read_layers(path: str) -> list[LayerTuple]:
    """Read one volume as an Image layer that carries the Volume, so that the dock and the writer know its
    grid. No layer where the user is asked something and cancels.
    """
    from napari_samadapt.imaging.reading import read_volume

    from .questions import read_asking

    volume = read_asking(lambda choices: read_volume(Path(path), choices=choices))
    return [NO_LAYER] if volume is None else [image_layer_tuple(volume)]


def image_layer_tuple(volume: Volume) -> LayerTuple:
    """The Image layer of `volume`: its window, and its voxel size as the scale (see layers.py on napari's
    world).
    """
    from napari_samadapt.imaging.intensity import auto_window

    keywords: dict[str, Any] = {
        "name": shown_name(volume),
        "scale": volume.spacing,
        "metadata": {VOLUME_KEY: volume},
    }
    if volume.is_color:
        keywords["rgb"] = True
    else:
        window = auto_window(volume)
        keywords["contrast_limits"] = (window.low, window.high)
    return volume.data, keywords, "image"


def volume_name(volume: Volume) -> str:
    """A short name for the layer list: the file's name without its suffixes, or "image"."""
    path = volume.source.path
    return path.name.split(".")[0] or path.name if path else "image"


def shown_name(volume: Volume) -> str:
    """The name of a volume on the screen; says so where its voxels are not those of the file."""
    return f"{volume_name(volume)} (resampled)" if volume.source.resampled else volume_name(volume)


def write_labels_layer(path: str, data: NDArray[np.integer[Any]], meta: Mapping[str, Any]) -> list[str]:
    """npe2 writer of a Labels layer: the same file as the Export button writes.

    `data` is (z, y, x) or (H, W) integers. A layer of this plugin carries the volume it was drawn on; any
    other layer is written on a grid of its own scale. Raises SamAdaptError when the file cannot be written
    safely.
    """
    import numpy as np

    from napari_samadapt.imaging.volume import Volume
    from napari_samadapt.imaging.writing import write_labels

    labels = np.asarray(data)
    labels = labels[np.newaxis] if labels.ndim == 2 else labels
    if labels.ndim != 3:
        raise SamAdaptError(f"Only 2D and 3D masks can be written; this layer is {labels.ndim}D.")
    metadata = meta.get("metadata") or {}
    displayed = metadata.get(DISPLAYED_KEY)
    labels = labels if displayed is None else displayed(data)
    reference = metadata.get(VOLUME_KEY)
    if reference is None:
        reference = Volume(labels, scale_affine(meta.get("scale", ())))
    written = write_labels(Path(path), labels, reference, metadata.get(NAMES_KEY))
    return [str(written)]


def scale_affine(scale: Sequence[float]) -> NDArray[np.float64]:
    """The affine (4, 4) of an array without a position: voxel sizes from `scale` (.., y, x), axes as on the
    screen.
    """
    import numpy as np

    dz, dy, dx = ([1.0] * 3 + [abs(float(step)) or 1.0 for step in scale])[-3:]
    return np.diag([-dx, -dy, dz, 1.0])


def sample_path(name: str) -> Path:
    """Where the bundled sample "ct", "mr" or "ultrasound" lies."""
    with as_file(files("napari_samadapt.resources") / _SAMPLES[name]) as path:
        return path


def sample_ct() -> list[LayerTuple]:
    """File ▸ Open Sample: a generated abdomen CT."""
    return read_layers(str(sample_path("ct")))


def sample_mr() -> list[LayerTuple]:
    """File ▸ Open Sample: a generated MR volume."""
    return read_layers(str(sample_path("mr")))


def sample_ultrasound() -> list[LayerTuple]:
    """File ▸ Open Sample: a generated ultrasound image."""
    return read_layers(str(sample_path("ultrasound")))
