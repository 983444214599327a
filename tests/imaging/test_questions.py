"""What can be understood in several ways is asked, with the numbers; an answer reads exactly what was chosen."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.questions import QUESTIONS, Answers, Choice, Question, QuestionError
from napari_samadapt.imaging.reading import read_labels, read_volume
from napari_samadapt.imaging.volume import Source, Volume

RNG = np.random.default_rng(0)
AFFINE = np.diag([-0.8, -0.9, 3.0, 1.0])


def asked(read, path, *args, **choices):
    """The question that reading raises, given these answers."""
    with pytest.raises(QuestionError) as caught:
        read(path, *args, choices=choices)
    assert "\n" not in str(caught.value)
    assert caught.value.question.name in QUESTIONS
    return caught.value.question


def values_of(question):
    return [choice.value for choice in question.choices]


def test_an_answer_has_to_be_one_of_the_choices():
    question = Question("time", "Which?", (Choice("0", "first"), Choice("1", "last")))
    answers = Answers({"time": "1", "grid": "resample"})
    assert answers.to(question) == "1"
    assert answers.used == {"time": "1"}
    assert question.sentence("--choose ") == "Which? Choose --choose time=0 (first), --choose time=1 (last)."
    with pytest.raises(SamAdaptError, match="'2' is no answer"):
        Answers({"time": "2"}).to(question)
    with pytest.raises(SamAdaptError, match="no question 'colour'"):
        Answers({"colour": "red"})


def test_a_hundred_choices_fit_into_a_sentence():
    question = Question("time", "Which?", tuple(Choice(str(n), f"volume {n}") for n in range(100)))
    assert (
        question.sentence() == "Which? Choose time=0 (volume 0), time=1 (volume 1), …, time=99 (volume 99)."
    )


# --- several positions, volumes and pages ------------------------------------------------------------------------


def test_both_positions_are_told_in_numbers_and_the_answer_is_remembered(tmp_path):
    image, moved = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), AFFINE), AFFINE.copy()
    moved[:3, 3] = 3, 4, 0
    image.set_sform(AFFINE, 1)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "a.nii")
    question = asked(read_volume, tmp_path / "a.nii")
    assert "differ by 5 mm" in question.text
    assert [choice.text for choice in question.choices] == [
        "first voxel at 0, 0, 0 mm, axes LPS, voxels of 0.8 x 0.9 x 3 mm",
        "first voxel at 3, 4, 0 mm, axes LPS, voxels of 0.8 x 0.9 x 3 mm",
    ]
    volume = read_volume(tmp_path / "a.nii", choices={"transform": "qform"})
    np.testing.assert_allclose(volume.affine, moved, atol=1e-5)
    assert volume.source.choices == (("transform", "qform"),)
    fields = dict(volume.source.header.fields)
    assert fields["srow_x"][3] == 0  # both positions go into the export as they are
    assert fields["qoffset_x"] == (3,)


def test_a_sform_that_cannot_be_used_is_not_replaced_silently(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), AFFINE)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    (tmp_path / "a.nii").write_bytes(content)
    assert read_volume(tmp_path / "a.nii").source.notes == (
        "The sform of the file cannot be used, its qform is.",
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_one_of_several_volumes(tmp_path, suffix):
    data = RNG.integers(-99, 99, (3, 6, 5, 4)).astype(np.int16)  # t, z, y, x
    path = tmp_path / f"a{suffix}"
    if suffix.startswith(".nii"):
        image = nib.Nifti1Image(data.T, AFFINE)
        image.header.set_xyzt_units("mm", "msec")
        image.header.set_zooms((0.8, 0.9, 3, 2500))
        nib.save(image, path)
    else:
        image = sitk.GetImageFromArray(data, isVector=False)
        image.SetSpacing((0.8, 0.9, 3, 2.5))
        sitk.WriteImage(image, str(path))
    question = asked(read_volume, path)
    assert "3 volumes (4 x 5 x 6 x 3" in question.text
    assert ("2.5 s apart" in question.text) == suffix.startswith(".nii")
    assert values_of(question) == ["0", "1", "2"]
    for number in range(3):
        volume = read_volume(path, choices={"time": str(number)})
        assert (volume.data == data[number]).all()
        np.testing.assert_allclose(volume.spacing, (3, 0.9, 0.8), rtol=1e-6)
        assert f"Volume {number} of 0 to 2" in volume.source.notes[0]


def test_a_4d_file_must_hold_all_its_volumes(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6, 3), np.int16), AFFINE), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:-40])
    with pytest.raises(SamAdaptError, match=r"94\.4 %"):
        read_volume(tmp_path / "a.nii", choices={"time": "0"})


def test_values_in_a_vector_are_volumes_to_choose_from(tmp_path):
    data = RNG.normal(size=(6, 5, 4, 7)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(data, isVector=True), str(tmp_path / "a.mha"))
    assert "7 volumes" in asked(read_volume, tmp_path / "a.mha").text
    volume = read_volume(tmp_path / "a.mha", choices={"time": "4"})
    assert (volume.data == data[..., 4]).all()


def test_a_stack_that_names_its_axis_is_not_asked_about(tmp_path):
    import tifffile

    stack = RNG.integers(0, 99, (3, 5, 4)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    assert (read_volume(tmp_path / "z.tif").data == stack).all()
    tifffile.imwrite(tmp_path / "t.tif", stack, imagej=True, metadata={"axes": "TYX"})
    assert values_of(asked(read_volume, tmp_path / "t.tif")) == ["stack", "0", "1", "2"]


def test_pages_of_different_sizes_are_offered_one_by_one(tmp_path):
    pages = [Image.fromarray(np.full(shape, 7, np.uint8)) for shape in ((4, 5), (3, 3))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert values_of(asked(read_volume, tmp_path / "a.tif")) == ["0", "1"]
    assert read_volume(tmp_path / "a.tif", choices={"pages": "1"}).shape == (1, 3, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_as_a_jpeg_is(tmp_path, orientation):
    from PIL import ImageOps

    pixels = RNG.integers(0, 255, (40, 60)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (read_volume(tmp_path / "a.png").data[0] == expected).all()
    assert (read_volume(tmp_path / "a.tif").data[0] == expected).all()


# --- how labels are coded ----------------------------------------------------------------------------------------


def save_mask(path, values, **options):
    """(y, x) or (y, x, 3) as a picture, or as NIfTI."""
    if path.suffix == ".nii":
        nib.save(nib.Nifti1Image(np.asarray(values).T[..., None], AFFINE), path)
    else:
        Image.fromarray(values).save(path, **options)
    return path


def disc(low=0, high=255, size=64):
    y, x = np.mgrid[:size, :size] - size // 2
    return np.where(x**2 + y**2 < 300, high, low)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii"])
@pytest.mark.parametrize("white", [254, 255, 65535])
def test_white_is_a_mask_or_an_id(tmp_path, suffix, white):
    values = disc(0, white).astype(np.uint8 if white < 256 else np.uint16)
    path = save_mask(tmp_path / f"a{suffix}", values)
    question = asked(read_labels, path)
    assert values_of(question) == ["mask", "ids"]
    mask, volume = read_labels(path, choices={"coding": "mask"})
    assert (mask[0] == (values > 0)).all()
    assert "id 1" in volume.source.notes[-1]
    assert (read_labels(path, choices={"coding": "ids"})[0][0] == values).all()


@pytest.mark.parametrize("ids", [(0, 1), (0, 1, 255), (0, 128, 255), (0, 200), (0, 1, 300)])
def test_ids_are_not_asked_about(tmp_path, ids):
    values = RNG.choice(np.array(ids, np.uint16), (40, 50))
    values = values.astype(np.uint8) if max(ids) < 256 else values
    assert (read_labels(save_mask(tmp_path / "a.png", values))[0][0] == values).all()


def test_white_with_two_levels_is_one_mask(tmp_path):
    values = disc().astype(np.uint8)
    values[32, 32] = 254
    path = save_mask(tmp_path / "a.png", values)
    assert (read_labels(path, choices={"coding": "mask"})[0][0] == (values > 0)).all()


def test_the_ringing_of_jpeg_is_told_and_thresholded(tmp_path):
    values = disc().astype(np.uint8)
    path = save_mask(tmp_path / "a.jpg", values, quality=60)
    assert len(np.unique(read_volume(path).data)) > 16
    question = asked(read_labels, path)
    assert values_of(question) == ["threshold"]
    assert "compressed or smoothed" in question.text
    mask = read_labels(path, choices={"coding": "threshold"})[0][0]
    assert np.count_nonzero(mask != (values > 0)) <= 0.01 * mask.size
    ids = RNG.integers(0, 5, (16, 16)).astype(np.uint8).repeat(4, 0).repeat(4, 1) * 40
    with pytest.raises(SamAdaptError, match="save them as PNG"):
        read_labels(save_mask(tmp_path / "ids.jpg", ids))


def test_smoothed_edges_in_a_png_can_be_ids_or_a_mask(tmp_path):
    soft = Image.fromarray(disc().astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    soft.save(tmp_path / "a.png")
    assert values_of(asked(read_labels, tmp_path / "a.png")) == ["threshold", "ids"]


@pytest.mark.parametrize(
    ("values", "coding"), [((0, 0.5), "mask"), ((0, 0.25, 0.75, 1), "threshold"), ((0.1, 0.9), "threshold")]
)
def test_numbers_between_0_and_1_are_asked_about(tmp_path, values, coding):
    map_ = RNG.choice(np.array(values, np.float32), (20, 30))
    path = save_mask(tmp_path / "a.nii", map_)
    assert values_of(asked(read_labels, path)) == [coding]
    mask = read_labels(path, choices={"coding": coding})[0][0]
    assert (mask == (map_ >= 0.5)).all()


def test_colours_are_classes_or_one_object(tmp_path):
    pixels = np.zeros((8, 9, 3), np.uint8)
    pixels[:3], pixels[5:] = (255, 0, 0), (0, 0, 255)
    path = save_mask(tmp_path / "a.png", pixels)
    question = asked(read_labels, path)
    assert "2 colours on #000000" in question.text
    assert question.choices[0].text == "each colour is a class: 1 = #0000ff, 2 = #ff0000"
    ids, volume = read_labels(path, choices={"coding": "colors"})
    assert ids[0, :, 0].tolist() == [2, 2, 2, 0, 0, 1, 1, 1]
    assert "1 = #0000ff" in volume.source.notes[-1]
    assert read_labels(path, choices={"coding": "mask"})[0][0, :, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]
    photo = RNG.integers(0, 255, (40, 40, 3)).astype(np.uint8)
    with pytest.raises(SamAdaptError, match="too many for classes"):
        read_labels(save_mask(tmp_path / "photo.png", photo))


# --- labels on another grid --------------------------------------------------------------------------------------


@pytest.fixture
def image():
    return Volume(np.zeros((6, 20, 25), np.int16), AFFINE, Source(format="nifti"))


def save_labels(path, labels, affine=AFFINE):
    nib.save(nib.Nifti1Image(labels.T, affine), path)
    return path


def ball(shape=(6, 20, 25)):
    z, y, x = np.indices(shape)
    return ((z - 3) ** 2 * 9 + (y - 9) ** 2 + (x - 12) ** 2 < 40).astype(np.uint8)


def test_a_shift_is_told_in_mm_and_resampled_to_the_nearest(tmp_path, image):
    moved = AFFINE.copy()
    moved[0, 3] += 0.58
    path = save_labels(tmp_path / "a.nii.gz", ball(), moved)
    question = asked(read_labels, path, image)
    assert "0.58 mm" in question.text
    labels, volume = read_labels(path, image, choices={"grid": "resample"})
    # An image voxel x lies at -0.8 x mm, and the nearest of the labels' -0.8 x + 0.58 is one further.
    assert (labels[:, :, :-1] == ball()[:, :, 1:]).all()
    assert volume.source.resampled
    assert (volume.affine == image.affine).all()


def test_another_size_is_told_and_every_voxel_gets_the_label_of_its_place(tmp_path, image):
    fine = np.diag([-0.4, -0.45, 1.5, 1.0])
    labels = ball((12, 40, 50))
    path = save_labels(tmp_path / "a.nii.gz", labels, fine)
    assert (
        "50 x 40 x 12 voxels (x, y, z) and the image has 25 x 20 x 6" in asked(read_labels, path, image).text
    )
    found, _ = read_labels(path, image, choices={"grid": "resample"})
    assert (found == labels[::2, ::2, ::2]).all()


def test_the_same_voxels_in_another_order_are_put_in_order_exactly(tmp_path, image):
    labels = RNG.integers(0, 5, (6, 20, 25)).astype(np.uint8)
    for code in ("RAS", "PIR", "SLA", "LPS"):
        stored = nib.Nifti1Image(labels.T, AFFINE)
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code)
        )
        nib.save(stored.as_reoriented(turn), tmp_path / f"{code}.nii.gz")
        found, volume = read_labels(tmp_path / f"{code}.nii.gz", image)
        assert (found == labels).all(), code
        assert not volume.source.resampled


def test_ids_that_vanish_are_named_and_what_lies_elsewhere_is_refused(tmp_path, image):
    labels = ball()
    labels[0, 0, 0] = 7
    moved = AFFINE.copy()
    moved[:2, 3] += 2
    path = save_labels(tmp_path / "a.nii.gz", labels, moved)
    _, volume = read_labels(path, image, choices={"grid": "resample"})
    assert volume.source.notes[-1] == "These ids have no voxel left: 7."
    moved[0, 3] += 1000
    path = save_labels(tmp_path / "far.nii.gz", labels, moved)
    with pytest.raises(SamAdaptError, match="wholly outside"):
        read_labels(path, image, choices={"grid": "resample"})


def test_labels_without_a_position_are_laid_on_by_voxel_only_when_asked(tmp_path, image):
    Image.fromarray(np.ones((20, 25), np.uint8)).save(tmp_path / "a.png")
    flat = Volume(image.data[:1], image.affine, image.source)
    assert values_of(asked(read_labels, tmp_path / "a.png", flat)) == ["voxels"]
    labels, volume = read_labels(tmp_path / "a.png", flat, choices={"grid": "voxels"})
    assert labels.all()
    assert not volume.source.resampled
    with pytest.raises(SamAdaptError, match="another grid"):
        read_labels(tmp_path / "a.png", image)


# --- what the user is told ---------------------------------------------------------------------------------------


def test_voxels_without_a_value_are_counted(tmp_path):
    data = np.ones((4, 5, 6), np.float32)
    data[0, 0, :4] = np.nan, np.inf, -np.inf, 3.4e38
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").source.notes[0].startswith("4 voxels hold no value")


@pytest.mark.parametrize(("degrees", "told"), [(0.0, False), (0.3, False), (18.98, True), (44.0, True)])
def test_an_oblique_scan_is_told(tmp_path, degrees, told):
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.obliquity == pytest.approx(degrees, abs=1e-3)
    assert [note.startswith(f"The scan lies {degrees:g}° oblique") for note in volume.source.notes] == [
        True
    ] * told


def test_another_unit_is_told(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([800, 900, 3000, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing == pytest.approx((3, 0.9, 0.8))
    assert "micrometre" in volume.source.notes[0]


def test_surface_data_in_a_nifti_file_is_named(tmp_path):
    image = nib.Nifti2Image(np.zeros((1, 1, 1, 1, 5, 9), np.float32), np.eye(4))
    image.header["intent_code"] = 3006
    nib.save(image, tmp_path / "a.dscalar.nii")
    with pytest.raises(SamAdaptError, match="CIFTI"):
        read_volume(tmp_path / "a.dscalar.nii")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_voxels_of_impossible_size_and_sheared_axes_in_other_formats(tmp_path, suffix):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    image.SetSpacing((500, 500, 500))
    sitk.WriteImage(image, str(tmp_path / f"large{suffix}"))
    with pytest.raises(SamAdaptError, match="voxels of 500"):
        read_volume(tmp_path / f"large{suffix}")
    sheared = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    sheared.SetDirection((1, 0.3, 0, 0, 0.9539, 0, 0, 0, 1))
    sitk.WriteImage(sheared, str(tmp_path / f"sheared{suffix}"))
    with pytest.raises(SamAdaptError, match="sheared"):
        read_volume(tmp_path / f"sheared{suffix}")
