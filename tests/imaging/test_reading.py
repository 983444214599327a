"""Files become volumes with the right values at the right place, or one plain sentence."""

from __future__ import annotations

import gzip
import subprocess
import sys
from contextlib import suppress
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.questions import QuestionError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Source, Volume

ORDERS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
RNG = np.random.default_rng(0)


def oblique(order=(0, 1, 2), signs=(1, 1, 1), spacing=(0.8, 0.9, 3.0), degrees=19.0):
    """An affine with permuted, flipped, anisotropic axes, turned in space."""
    angle = np.deg2rad(degrees)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    ) @ np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    axes = np.zeros((3, 3))
    for voxel, (world, sign) in enumerate(zip(order, signs, strict=True)):
        axes[world, voxel] = sign * spacing[voxel]
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes
    affine[:3, 3] = (-31.5, 12.25, 100.125)
    return affine


def save_nifti(path, xyz, affine=None, **fields):
    """Write (x, y, z) voxels as they are, with any header fields on top."""
    image = nib.Nifti1Image(xyz, oblique() if affine is None else affine, dtype=xyz.dtype)
    nib.save(image, path)
    if fields:  # nibabel would correct them while saving
        content = path.read_bytes()
        header = nib.Nifti1Header(content[:348])
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(header.binaryblock + content[348:])
    return path


def voxels(shape=(4, 5, 6), dtype=np.int16):
    return RNG.integers(-1000, 1000, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_every_storage_order_lies_where_both_libraries_put_it(tmp_path, order, signs, suffix):
    xyz, affine = voxels(), oblique(order, signs)
    path = tmp_path / f"a{suffix}"
    if suffix.startswith(".nii"):
        save_nifti(path, xyz, affine)
    else:
        lps = np.diag([-1, -1, 1, 1]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image = sitk.GetImageFromArray(xyz.T)
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        sitk.WriteImage(image, str(path), useCompression=signs[0] > 0)
    volume = read_volume(path)
    assert volume.data.dtype == np.int16
    assert (volume.data == xyz.T).all()
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    image = sitk.ReadImage(str(path))
    for corner in product((0, 3), (0, 4), (0, 5)):
        x, y, z = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose((volume.affine @ (*corner, 1))[:3], (-x, -y, z), atol=1e-3)


@pytest.mark.parametrize("name", ["nii", "nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "i8", "f4", ">f4", "f8"])
def test_nifti_types_are_kept_in_native_order(tmp_path, dtype, name):
    xyz = RNG.integers(0, 100, (4, 5, 6)).astype(dtype)
    header = nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(np.dtype(dtype))
    path = tmp_path / f"a.{name}"
    nib.save(nib.Nifti1Image(xyz, np.eye(4), header), path)
    data = read_volume(path).data
    assert data.dtype == np.dtype(dtype).newbyteorder("=")
    assert (data == xyz.T).all()


@pytest.mark.parametrize(
    ("stored", "slope", "offset", "expected"),
    [
        ("u2", 1, -1024, "i2"),
        ("i2", 1, 0, "i2"),
        ("i2", 0, 7, "i2"),  # slope 0 means no scaling
        ("i2", np.nan, 0, "i2"),
        ("i2", 1000, 0, "i4"),
        ("u1", 2.2, -3.5, "f4"),
    ],
)
def test_the_header_scaling_is_applied(tmp_path, stored, slope, offset, expected):
    xyz = RNG.integers(0, 255, (4, 5, 6)).astype(stored)
    image = nib.Nifti1Image(xyz, np.eye(4))
    path = tmp_path / "a.nii"
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, offset], "<f4").tobytes()
    path.write_bytes(content)
    data = read_volume(path).data
    assert data.dtype == np.dtype(expected)
    np.testing.assert_allclose(data, nib.load(path).get_fdata().T, rtol=1e-6)


def test_rgb_nifti_is_colour(tmp_path):
    rgb = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"], rgb["B"] = 7, 250
    volume = read_volume(save_nifti(tmp_path / "a.nii.gz", rgb))
    assert volume.is_color
    assert volume.data[1, 2, 3].tolist() == [7, 0, 250]


def test_nifti_2_and_trailing_axes_of_one(tmp_path):
    nib.save(nib.Nifti2Image(voxels((4, 5, 6, 1, 1)), oblique()), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.shape == (6, 5, 4)
    assert (volume.affine == nib.load(tmp_path / "a.nii.gz").affine).all()


def test_a_2d_nifti_is_one_slice(tmp_path):
    assert read_volume(save_nifti(tmp_path / "a.nii", voxels((4, 5)))).shape == (1, 5, 4)


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000), (2, 1), (3, 0.001), (0, 1)])
def test_units_become_mm(tmp_path, unit, factor):
    affine = np.diag([2 / factor, 3 / factor, 4 / factor, 1])
    volume = read_volume(save_nifti(tmp_path / "a.nii", voxels(), affine, xyzt_units=unit))
    assert volume.spacing == pytest.approx((4, 3, 2))


def test_a_file_without_position_says_so(tmp_path):
    path = save_nifti(tmp_path / "a.nii", voxels(), np.diag([2, 3, 4, 1]), sform_code=0, qform_code=0)
    volume = read_volume(path)
    assert not volume.spatial
    assert "no position" in volume.source.notes[0]
    assert (volume.affine == nib.load(path).affine).all()
    zero = save_nifti(tmp_path / "b.nii", voxels(), sform_code=0, qform_code=0, pixdim=[1] + [0] * 7)
    assert read_volume(zero).spacing == (1, 1, 1)


def test_two_positions_that_disagree_are_asked_about(tmp_path):
    image = nib.Nifti1Image(voxels(), oblique())
    image.set_sform(oblique(), 1)
    image.set_qform(oblique(degrees=25), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(QuestionError, match=r"differ by [\d.]+ mm"):
        read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(
        read_volume(tmp_path / "a.nii", choices={"transform": "sform"}).affine, oblique(), atol=1e-4
    )
    turned = read_volume(tmp_path / "a.nii", choices={"transform": "qform"}).affine
    np.testing.assert_allclose(turned, oblique(degrees=25), atol=1e-4)


@pytest.mark.parametrize(
    ("affine", "says"),
    [
        ([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "sheared"),
        (np.diag([500, 500, 500, 1]), "voxels of 500"),
        (np.diag([1e-5, 1e-5, 1e-5, 1]), "voxels of 1e-05"),
    ],
)
def test_positions_that_cannot_be_are_refused(tmp_path, affine, says):
    image = nib.Nifti1Image(voxels(), np.array(affine, float))
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(SamAdaptError, match=says):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("start", [np.nan, np.inf, -np.inf])
def test_voxels_that_begin_nowhere_are_refused(tmp_path, start):
    content = bytearray(save_nifti(tmp_path / "a.nii", voxels()).read_bytes())
    content[108:112] = np.float32(start).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(SamAdaptError, match="where the voxels begin"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [True, False])
def test_truncated_files_are_refused(tmp_path, suffix, share, compressed):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels((10, 11, 12))), str(path), useCompression=compressed)
    if suffix == ".mhd":
        path = next(other for other in tmp_path.iterdir() if other.suffix in (".raw", ".zraw"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SamAdaptError, match=r"incomplete|damaged|empty|lacks|needs its data file"):
        read_volume(tmp_path / f"a{suffix}")


def test_the_share_that_is_there_is_said(tmp_path):
    path = save_nifti(tmp_path / "a.nii", voxels((10, 10, 10)))
    path.write_bytes(path.read_bytes()[: 352 + 1000])
    with pytest.raises(SamAdaptError, match="50 %"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_flipped_bit_in_compressed_voxels_is_found(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels((10, 11, 12))), str(path), useCompression=True)
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(SamAdaptError, match=r"damaged|incomplete"):
        read_volume(path)


def test_a_header_that_claims_the_impossible_is_refused_before_memory_is_taken(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + bytes(20)
    (tmp_path / "a.nii").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content))
    for name in ("a.nii", "b.nii.gz"):
        with pytest.raises(SamAdaptError, match=r"incomplete|claims"):
            read_volume(tmp_path / name)


def test_a_volume_larger_than_memory_is_refused(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "a.nii", voxels())
    monkeypatch.setattr("napari_samadapt.imaging.memory._SHARE", 0.0)
    with pytest.raises(SamAdaptError, match="GiB"):
        read_volume(path)


def test_a_gzip_that_goes_on_is_refused(tmp_path):
    path = save_nifti(tmp_path / "a.nii", voxels())
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(3 << 20)))
    with pytest.raises(SamAdaptError, match="after the last voxel"):
        read_volume(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(("type_code", "says"), [(32, "complex64"), (1234, "unknown voxel type, code 1234")])
def test_voxels_that_cannot_be_shown_are_refused(tmp_path, type_code, says):
    path = save_nifti(tmp_path / "a.nii", np.zeros((4, 5, 6), np.complex64), datatype=type_code)
    with pytest.raises(SamAdaptError, match=says):
        read_volume(path)


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.jpg", "a.tif", "a.dcm", "a.txt", "a"]
)
@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 20], ids=["empty", "short", "bytes"])
def test_files_of_other_kinds_get_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SamAdaptError) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_missing_files_and_empty_folders(tmp_path):
    with pytest.raises(SamAdaptError, match="does not exist"):
        read_volume(tmp_path / "none.nii")
    with pytest.raises(SamAdaptError, match="no DICOM images"):
        read_volume(tmp_path)


def test_names_with_spaces_and_signs(tmp_path):
    for name in ("a b.nii", "ä#%é.nii.gz", "🫀.nii"):
        assert read_volume(save_nifti(tmp_path / name, voxels())).shape == (6, 5, 4)


def test_the_neighbour_of_another_ending_is_not_read(tmp_path):
    ours, other = voxels(), voxels()
    save_nifti(tmp_path / "A.nii", other)
    save_nifti(tmp_path / "A.nii.gz", ours)
    assert (read_volume(tmp_path / "A.nii.gz").data == ours.T).all()


NRRD = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 3 4 5\nencoding: raw\n"
AXES = b"space directions: (1,0,0) (0,1,0) (0,0,2)\n"
MHA = b"NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nOffset = 1 2 3\n"


def write_text_header(path, *lines):
    """A file of 3 x 4 x 5 bytes that says what is in `lines` too."""
    more = "".join(f"{line}\n" for line in lines).encode()
    content = (
        NRRD + more + AXES + b"\n" if path.suffix == ".nrrd" else MHA + more + b"ElementDataFile = LOCAL\n"
    )
    path.write_bytes(content + bytes(range(60)))
    return path


@pytest.mark.parametrize("unit", ["um", "m", "cm", "m\u00fcm", "pixel"])
def test_lengths_in_another_unit_are_refused_where_itk_takes_them_for_mm(tmp_path, unit):
    nrrd = write_text_header(tmp_path / "a.nrrd", "space: LPS", f'space units: "mm" "{unit}" "{unit}"')
    mha = write_text_header(tmp_path / "a.mha", f"DistanceUnits = {unit}")
    for path in (nrrd, mha):
        with pytest.raises(SamAdaptError, match="states its lengths in"):
            read_volume(path)
    millimetres = write_text_header(tmp_path / "b.nrrd", "space: LPS", 'space units: "mm" "mm" "mm"')
    assert read_volume(millimetres).spacing == (2, 1, 1)
    assert read_volume(write_text_header(tmp_path / "b.mha", "DistanceUnits = mm")).spatial


@pytest.mark.parametrize(("name", "line"), [("a.nrrd", b"sizes: 3 4 5"), ("a.mha", b"DimSize = 3 4 5")])
def test_no_sizes_are_one_sentence(tmp_path, name, line):
    path = write_text_header(tmp_path / name)
    path.write_bytes(path.read_bytes().replace(line, line[: -len(b"3 4 5")]))
    with pytest.raises(SamAdaptError, match="header"):
        read_volume(path)


@pytest.mark.parametrize("line", ["Slope = 2", "Offset = -1024"])
def test_a_scaling_that_itk_leaves_out_is_refused(tmp_path, line):
    with pytest.raises(SamAdaptError, match="scales its values"):
        read_volume(write_text_header(tmp_path / "a.mha", f"ElementToIntensityFunction{line}"))
    plain = [f"ElementToIntensityFunction{text}" for text in ("Slope = 1", "Offset = 0")]
    assert read_volume(write_text_header(tmp_path / "b.mha", *plain)).data.max() == 59


@pytest.mark.parametrize("space", ["scanner-xyz", "3D-right-handed", "3D-left-handed", None])
def test_a_space_that_is_not_the_patients_is_no_position(tmp_path, space):
    line = "space dimension: 3" if space is None else f"space: {space}"
    volume = read_volume(write_text_header(tmp_path / "a.nrrd", line, "space origin: (1,2,3)"))
    assert not volume.spatial
    assert any("no position" in note for note in volume.source.notes)


def test_a_meta_image_without_a_position_says_so(tmp_path):
    path = write_text_header(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"Offset = 1 2 3\n", b""))
    assert any("no position" in note for note in read_volume(path).source.notes)


def test_a_list_of_three_volumes_is_no_colour(tmp_path):
    """As 3D Slicer stores sequences and layers of segments."""
    header = (
        b"NRRD0004\ntype: uint8\ndimension: 4\nsizes: 3 5 2 2\nencoding: raw\nspace: LPS\nkinds: %s domain domain "
        b"domain\nspace directions: none (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header % b"list" + bytes(range(60)))
    with pytest.raises(QuestionError, match="3 volumes"):
        read_volume(tmp_path / "a.nrrd")
    second = read_volume(tmp_path / "a.nrrd", choices={"time": "1"}).data
    assert (second.ravel() == np.arange(1, 60, 3)).all()
    (tmp_path / "b.nrrd").write_bytes(header % b"RGB-color" + bytes(range(60)))
    assert read_volume(tmp_path / "b.nrrd").is_color


# --- pictures ---------------------------------------------------------------------------------------------------


def save_picture(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_grey_and_colour_pictures(tmp_path):
    grey = RNG.integers(0, 255, (7, 9)).astype(np.uint8)
    color = RNG.integers(0, 255, (7, 9, 3)).astype(np.uint8)
    for suffix in (".png", ".tif"):
        assert (read_volume(save_picture(tmp_path / f"g{suffix}", grey)).data == grey[None]).all()
        assert (read_volume(save_picture(tmp_path / f"c{suffix}", color)).data == color[None]).all()
    volume = read_volume(save_picture(tmp_path / "c.jpg", color))
    assert volume.data.shape == (1, 7, 9, 3)
    assert not volume.spatial
    assert (volume.affine == np.diag([-1, -1, 1, 1])).all()


def test_sixteen_bits_are_kept(tmp_path):
    deep = RNG.integers(0, 65535, (7, 9)).astype(np.uint16)
    for suffix in (".png", ".tif"):
        data = read_volume(save_picture(tmp_path / f"a{suffix}", deep)).data
        assert data.max() == deep.max()
        assert (data == deep[None]).all()


def test_transparency_lies_over_black(tmp_path):
    pixels = np.full((4, 5, 4), (200, 100, 50, 255), np.uint8)
    pixels[0, 0, 3] = 0
    data = read_volume(save_picture(tmp_path / "a.png", pixels)).data
    assert data[0, 0, 0].tolist() == [0, 0, 0]
    assert data[0, 1, 1].tolist() == [200, 100, 50]


def test_grey_stored_as_colour_is_grey(tmp_path):
    pixels = np.repeat(RNG.integers(0, 255, (4, 5, 1)).astype(np.uint8), 3, axis=2)
    assert read_volume(save_picture(tmp_path / "a.png", pixels)).data.shape == (1, 4, 5)


def test_a_palette_is_colour_as_an_image_and_ids_as_labels(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode=None)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png").data[0, 0, 1].tolist() == [255, 0, 0]
    assert read_labels(tmp_path / "a.png")[0].tolist() == [[[0, 1], [2, 1]]]


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, :10, 0] = 255  # left half red
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: left comes up
    volume = read_volume(save_picture(tmp_path / "a.jpg", pixels, exif=exif, quality=95))
    assert volume.shape == (1, 20, 10)
    assert volume.data[0, 2, 5, 0] > 200
    assert any("upright" in note for note in volume.source.notes)


def test_pages_are_a_stack_or_one_of_them(tmp_path):
    pages = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(QuestionError, match="3 pages"):
        read_volume(tmp_path / "a.tif")
    stack = read_volume(tmp_path / "a.tif", choices={"pages": "stack"})
    assert stack.data[:, 0, 0].tolist() == [1, 2, 3]
    assert read_volume(tmp_path / "a.tif", choices={"pages": "2"}).data[:, 0, 0].tolist() == [3]
    pages[1] = Image.fromarray(np.zeros((3, 3), np.uint8))
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(SamAdaptError, match="different sizes"):
        read_volume(tmp_path / "b.tif")


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_in_another_colour_space_is_shown_in_its_colours(tmp_path, mode, compression):
    """The fourth channel of CMYK is no opacity: such a picture was black."""
    picture = Image.fromarray(RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)).convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    assert (read_volume(tmp_path / "a.tif").data[0] == np.asarray(picture.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["unspecified", "assocalpha"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_an_extra_channel_of_a_tiff_is_an_opacity_only_if_it_says_so(tmp_path, kind, channels, planar):
    pixels = RNG.integers(1, 256, (6, 9, channels + 1)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels if planar == "contig" else np.moveaxis(pixels, -1, 0),
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig=planar,
        extrasamples=[kind],
    )
    shown = read_volume(tmp_path / "a.tif").data[0].reshape(6, 9, -1)
    assert (shown == pixels[..., :-1]).all()


def test_a_tiff_without_a_picture_is_refused(tmp_path):
    tifffile.TiffWriter(tmp_path / "a.tif").close()
    with pytest.raises(SamAdaptError, match="holds no picture"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("error", [ZeroDivisionError, RuntimeError, AttributeError, OverflowError])
def test_whatever_a_library_says_of_a_damaged_tiff_is_one_sentence(tmp_path, monkeypatch, error):
    """Found by random bytes: tifffile divides by a size of zero, and raises RuntimeError for a page of a series."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 9), np.uint8))

    def fail(*_, **__):
        raise error("sizes")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", fail)
    with pytest.raises(SamAdaptError, match="damaged, incomplete or no picture"):
        read_volume(tmp_path / "a.tif")


def test_compressed_and_inverted_tiff(tmp_path):
    grey = RNG.integers(0, 255, (7, 9)).astype(np.uint8)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        path = save_picture(tmp_path / f"{compression}.tif", grey, compression=compression)
        assert (read_volume(path).data == grey[None]).all()


# --- labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64]
)
def test_label_ids_and_gaps_are_kept(tmp_path, dtype):
    ids = np.array([0, 1, 52, 79, 117], np.int64).astype(dtype)
    xyz = RNG.choice(ids, (4, 5, 6))
    labels, volume = read_labels(save_nifti(tmp_path / "a.nii.gz", xyz))
    assert labels.dtype == np.uint8
    assert (labels == xyz.T).all()
    assert volume.data.dtype == np.uint8


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16), (70_000, np.uint32)])
def test_the_type_is_as_large_as_the_largest_id(tmp_path, highest, dtype):
    xyz = np.zeros((4, 5, 6), np.int32)
    xyz[1, 1, 1] = highest
    labels, _ = read_labels(save_nifti(tmp_path / "a.nii", xyz), choices={"coding": "ids"})
    assert labels.dtype == dtype
    assert labels.max() == highest


def test_nearly_whole_labels_are_rounded_and_the_user_is_told(tmp_path):
    xyz = np.zeros((4, 5, 6), np.float32)
    xyz[1] = 0.99999997
    xyz[2] = 1.9996
    labels, volume = read_labels(save_nifti(tmp_path / "a.nii", xyz))
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert "rounded" in volume.source.notes[0]


@pytest.mark.parametrize(
    ("value", "dtype", "says"),
    [(1.5, np.float32, "no whole numbers"), (np.nan, np.float32, "NaN"), (-1, np.int16, "negative")],
)
def test_what_is_no_label_map_is_refused(tmp_path, value, dtype, says):
    xyz = np.zeros((4, 5, 6), dtype)
    xyz[1, 1, 1] = value
    with pytest.raises(SamAdaptError, match=says):
        read_labels(save_nifti(tmp_path / "a.nii", xyz))


def test_labels_on_another_grid_are_refused(tmp_path):
    image = read_volume(save_nifti(tmp_path / "image.nii", voxels()))
    labels = np.zeros((4, 5, 6), np.uint8)
    read_labels(save_nifti(tmp_path / "same.nii", labels), image)
    moved = oblique()
    moved[0, 3] += 0.58
    with pytest.raises(SamAdaptError, match=r"0\.58 mm"):
        read_labels(save_nifti(tmp_path / "moved.nii", labels, moved), image)
    with pytest.raises(SamAdaptError, match="3 x 5 x 6"):
        read_labels(save_nifti(tmp_path / "small.nii", labels[:3]), image)
    path = save_nifti(tmp_path / "lost.nii", labels, sform_code=0, qform_code=0)
    with pytest.raises(SamAdaptError, match="no position"):
        read_labels(path, image)
    picture = Volume(np.zeros((6, 5, 4)), np.eye(4), Source(format="image", spatial=False))
    read_labels(path, picture)


# --- the package and the real files -----------------------------------------------------------------------------


def test_importing_the_reader_imports_nothing_heavy():
    code = (
        "import sys, napari_samadapt.imaging.reading, napari_samadapt.imaging.writing, "
        "napari_samadapt.imaging.intensity; "
        "print([name for name in ('torch', 'SimpleITK', 'nibabel', 'pydicom', 'skimage', 'scipy', 'PIL') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_real_nifti_files_agree_with_nibabel_and_simpleitk(shared_data):
    """Where the two libraries differ, the user is asked or the file is refused."""
    read = 0
    for path in sorted(shared_data.rglob("*.nii*")):
        try:
            volume = read_volume(path)
        except SamAdaptError:
            continue
        image, reader = nib.load(path), sitk.ImageFileReader()
        assert (volume.affine == image.affine).all(), path.name
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        z, y, x = volume.shape
        rest = [0] * (reader.GetDimension() - 3)
        for corner in product((0, x - 1), (0, y - 1), (0, z - 1)):
            size = reader.GetDimension()
            direction = np.array(reader.GetDirection()).reshape(size, size)
            place = direction @ (np.array([*corner, *rest]) * reader.GetSpacing()) + reader.GetOrigin()
            there = np.diag([-1, -1, 1]) @ place[:3]
            np.testing.assert_allclose(
                (volume.affine @ (*corner, 1))[:3], there, atol=1e-2, err_msg=path.name
            )
        if not volume.is_color:
            np.testing.assert_allclose(
                volume.data, image.get_fdata().reshape(x, y, z).T, rtol=1e-5, atol=1e-5
            )
        read += 1
    assert read > 40


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".jpg", ".nrrd", ".mgz", ".md"])
def test_other_real_files_are_read_or_refused(shared_data, suffix):
    for path in sorted(shared_data.rglob(f"*{suffix}"))[:15]:
        with suppress(SamAdaptError):
            read_volume(path)
