"""Reads images with SimpleITK in a process of its own: a crash in native code costs one file, not the work.

Standard input: a JSON list of paths. Standard output, per path: one .npy array of the voxels (z, y, x, channels) and
one of the affine (4, 4) of (x, y, z) to LPS mm. The script is run by its path and imports nothing of the package.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any


def decoded(path: str) -> list[Any]:
    """The voxels ((t,) z, y, x, c) of a file and its affine, as arrays; RuntimeError where it cannot be read."""
    import numpy as np
    import SimpleITK as sitk

    image: Any = sitk.ReadImage(path)
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    dimension = image.GetDimension()
    used = min(dimension, 3)
    affine = np.eye(4)
    cosines = np.array(image.GetDirection(), np.float64).reshape(dimension, dimension)[:used, :used]
    affine[:used, :used] = cosines * np.array(image.GetSpacing()[:used])
    affine[:used, 3] = image.GetOrigin()[:used]
    return [array, affine]


def main() -> int:
    """Answer one request; 3 says that a file could not be read."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native libraries may print; that must not land among the voxels
    import numpy as np

    for path in json.load(sys.stdin):
        try:
            arrays = decoded(path)
        except RuntimeError:
            return 3
        for array in arrays:
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(array, order="C"), allow_pickle=False)
            answer.write(buffer.getbuffer())
    answer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
