"""PNG, JPEG and TIFF as volumes: grey or RGB, the right way up, one slice or a stack of pages.

Pictures have no position in the body. Their affine is one millimetre per pixel with ITK's identity, so that
nibabel and SimpleITK put a mask written for them at the same place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SamAdaptError
from .memory import check_budget
from .questions import Answers, Choice, Question
from .quietly import quietly
from .volume import Source, Volume

_NO_SIZE = "This picture has no physical size: lengths are in pixels."
_TURNED = "The picture was turned upright as its EXIF orientation says; masks lie on the upright picture."
_UNREADABLE = (
    SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
_EXIF_ORIENTATION = 0x0112
_BY_COLUMNS = 5  # orientations from this one on are stored column by column
_OPACITY = 2  # the kind of an extra channel of a TIFF that the colours are not yet multiplied by
_PLAIN = (1, 5, 8, 32773, 32946)  # compressions that tifffile reads by itself: none, LZW, deflate, PackBits
_DIRECT = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "MASK")
"""The TIFF photometric interpretations that need no change of colour space; the others are left to Pillow."""
_Pages = tuple[NDArray[Any], tuple[str, ...]]


def read_picture(path: Path, answers: Answers, *, exact: bool = False) -> Volume:
    """Read a PNG, JPEG or TIFF as (1, H, W), (pages, H, W) or the same with 3 uint8 colours.

    With `exact` (labels) palette indices and two-level pictures keep their numbers. Colours that are all grey
    become grey; transparency is laid over black. Asks ("pages") what several pages are, unless the file says
    that they are slices. Raises SamAdaptError for damaged files and types that cannot be shown.
    """
    notes: tuple[str, ...]
    try:
        with quietly():
            if path.suffix.lower() in (".tif", ".tiff"):
                pages, notes = _read_tiff(path, answers, exact=exact)
            else:
                pages, notes = _read_with_pillow(path, answers, exact=exact)
    except SamAdaptError:
        raise
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SamAdaptError(
            f"{path.name} is damaged, incomplete or no picture: {_first_line(error)}."
        ) from error
    data = _shown(pages, path)
    return Volume(
        data, np.diag([-1.0, -1.0, 1.0, 1.0]), Source(path, "image", spatial=False, notes=(_NO_SIZE, *notes))
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].rstrip(".")


def _chosen_page(path: Path, count: int, answers: Answers, *, stack: bool = True) -> int | None:
    """The page to read, counted from 0; None for all of them, as the slices of a stack."""
    if count == 1:
        return 0
    slices = Choice("stack", f"the {count} pages are the slices of one volume")
    single = (Choice(str(number), f"page {number} alone") for number in range(count))
    text = (
        f"{path.name} holds {count} {'pages' if stack else 'pages of different sizes'}: what is to be opened?"
    )
    value = answers.to(Question("pages", text, (slices, *single) if stack else tuple(single)))
    return None if value == "stack" else int(value)


def _read_with_pillow(path: Path, answers: Answers, *, exact: bool) -> _Pages:
    """(pages, H, W) or (pages, H, W, C), the right way up, and notes."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        check_budget(image.width * image.height * 4 * count, path)
        wanted = _chosen_page(path, count, answers)
        turned, pages = False, []
        for number in range(count) if wanted is None else [wanted]:
            image.seek(number)
            turned = turned or image.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1)
            pages.append(_plain(ImageOps.exif_transpose(image), exact=exact))
    if len({page.shape for page in pages}) > 1:
        raise SamAdaptError(f"{path.name} holds pages of different sizes: open one page of it (pages=0).")
    return np.stack(pages), (_TURNED,) if turned else ()


def _plain(image: Any, *, exact: bool) -> NDArray[Any]:
    """(H, W) or (H, W, C) array of a Pillow image, its palette and colour space resolved."""
    if image.mode == "P" and exact:
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(1 if exact else 255)
    if image.mode in ("L", "F", "I", "RGB", "RGBA", "LA") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))


def _read_tiff(path: Path, answers: Answers, *, exact: bool) -> _Pages:
    """(pages, H, W) or (pages, H, W, C); compressions that tifffile lacks a codec for are left to Pillow."""
    import tifffile

    part: Any
    page: Any

    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.series) == 1:
                part, page = tiff.series[0], tiff.series[0].keyframe
            else:
                if not tiff.pages:
                    raise SamAdaptError(f"{path.name} is damaged or incomplete: it holds no picture.")
                wanted = _chosen_page(path, len(tiff.pages), answers, stack=False)
                part = page = tiff.pages[wanted or 0]
            check_budget(part.nbytes, path)
            photometric, palette = tifffile.PHOTOMETRIC(page.photometric).name, page.colormap
            orientation = int(page.tags.valueof(_EXIF_ORIENTATION) or 1)
            if (
                orientation >= _BY_COLUMNS and page.compression not in _PLAIN
            ):  # Pillow garbles what it would turn
                raise SamAdaptError(
                    f"{path.name} is stored on its side: turn it upright with the program that made it."
                )
            values, axes = part.asarray(), part.axes
            values, axes = _without_extra_channels(values, axes, page.extrasamples)
    except tifffile.TiffFileError as error:
        raise SamAdaptError(f"{path.name} is not a TIFF file, or it is damaged.") from error
    except ValueError as error:
        if "imagecodecs" in str(error):
            return _read_with_pillow(path, answers, exact=exact)
        raise
    if photometric not in _DIRECT:
        return _read_with_pillow(path, answers, exact=exact)
    pages = _pages(values, axes, path)
    if "Z" not in axes and (number := _chosen_page(path, len(pages), answers)) is not None:
        pages = pages[number : number + 1]
    pages = _upright(pages, orientation)
    return _in_grey_levels(pages, photometric, palette, exact=exact), (_TURNED,) if orientation != 1 else ()


def _without_extra_channels(
    values: NDArray[Any], axes: str, kinds: Sequence[int]
) -> tuple[NDArray[Any], str]:
    """Only an opacity that still has to be applied stays: colours are stored darkened by an associated one (kind 1)."""
    if not kinds or "S" not in axes or tuple(kinds) == (_OPACITY,):
        return values, axes
    channels = axes.index("S")
    values = np.take(values, range(values.shape[channels] - len(kinds)), channels)
    if values.shape[channels] > 1:
        return values, axes
    return values.squeeze(channels), axes.replace("S", "")


def _in_grey_levels(
    pages: NDArray[Any], photometric: str, palette: NDArray[Any] | None, *, exact: bool
) -> NDArray[Any]:
    """The pages with their palette looked up and white above black; as stored for `exact`."""
    if exact:
        return pages
    if photometric == "PALETTE" and palette is not None:
        colors: NDArray[Any] = np.moveaxis(palette >> 8, 0, -1).astype(np.uint8)[pages]
        return colors
    if pages.dtype.kind == "b":
        pages = pages.astype(np.uint8) * np.uint8(255)
    return pages.max() - pages if photometric == "MINISWHITE" else pages


def _upright(pages: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (pages, H, W, ...) as the TIFF or EXIF orientation 1 to 8 says."""
    if orientation >= _BY_COLUMNS:
        pages = np.swapaxes(pages, 1, 2)
    if orientation in (3, 4, 7, 8):
        pages = pages[:, ::-1]
    return pages[:, :, ::-1] if orientation in (2, 3, 6, 7) else pages


def _pages(values: NDArray[Any], axes: str, path: Path) -> NDArray[Any]:
    """(pages, H, W) or (pages, H, W, C) from tifffile's named axes."""
    if "S" in axes:
        values, axes = np.moveaxis(values, axes.index("S"), -1), axes.replace("S", "") + "S"
    color = axes.endswith("S")
    pages = axes.removesuffix("S")
    long = [name for name, size in zip(pages[:-2], values.shape, strict=False) if size > 1]
    if not pages.endswith("YX") or len(long) > 1:
        raise SamAdaptError(
            f"{path.name} has the axes {axes} {values.shape}: save one stack (Z, Y, X) as a file."
        )
    return values.reshape(-1, *values.shape[-3 if color else -2 :])


def _shown(pages: NDArray[Any], path: Path) -> NDArray[Any]:
    """Grey (pages, H, W) in its own type, or (pages, H, W, 3) uint8."""
    if pages.dtype.kind not in "buif":
        raise SamAdaptError(f"{path.name} has pixels of type {pages.dtype}, which cannot be shown.")
    pages = pages.astype(pages.dtype.newbyteorder("="), copy=False)
    if pages.ndim == 3:
        return pages.astype(np.uint8) if pages.dtype.kind == "b" else pages
    if pages.dtype.kind == "f" and pages.min() >= 0 and pages.max() <= 1:
        pages = np.rint(pages * 255).astype(np.uint8)
    if pages.shape[-1] not in (1, 2, 3, 4) or pages.dtype not in (np.uint8, np.uint16):
        raise SamAdaptError(
            f"{path.name} has {pages.shape[-1]} channels of {pages.dtype}: only grey, RGB and RGBA work."
        )
    colors = _over_black(pages) if pages.shape[-1] in (2, 4) else pages
    if (colors == colors[..., :1]).all():
        return np.ascontiguousarray(colors[..., 0])
    return colors if colors.dtype == np.uint8 else (colors >> 8).astype(np.uint8)


def _over_black(pages: NDArray[Any]) -> NDArray[Any]:
    """Drop the last channel, opacity, after darkening by it."""
    alpha, top = pages[..., -1:], np.iinfo(pages.dtype).max
    if (alpha == top).all():
        return pages[..., :-1]
    return np.rint(pages[..., :-1] * (alpha / top)).astype(pages.dtype)
