"""Reads images with SimpleITK in a process of its own: a crash in native code costs one file, not the work.

Standard input: a JSON list of paths. Standard output: one .npy array (z, y, x, channels) per path. The script
is run by its path and imports nothing of the package.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any


def main() -> int:
    """Answer one request; 3 says that a file could not be read."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native libraries may print; that must not land among the voxels
    import numpy as np
    import SimpleITK as sitk

    for path in json.load(sys.stdin):
        try:
            image: Any = sitk.ReadImage(path)
        except RuntimeError:
            return 3
        array = sitk.GetArrayFromImage(image)
        if image.GetNumberOfComponentsPerPixel() == 1:
            array = array[..., None]
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        answer.write(buffer.getbuffer())
    answer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
