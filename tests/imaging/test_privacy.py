"""Identifiers planted in every header field and tag of a source are in no file, log or message that comes of it."""

from __future__ import annotations

import gzip
import logging
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from napari_samadapt.imaging.errors import SamAdaptError, for_log
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.writing import write_each_label, write_labels

TOKEN = "ZQXPLANTED"
SHAPE = (4, 5, 6)
RNG = np.random.default_rng(0)
NAMES = {1: "liver", 52: "aorta"}
TEXT_VRS = {"LO", "LT", "PN", "SH", "ST", "UC", "UT", "AE", "CS"}
KEPT = {
    "Modality",
    "PhotometricInterpretation",
    "SpecificCharacterSet",
    "ImageType",
}  # say how pixels are read


def nifti(path):
    header = nib.Nifti1Header()
    header["descrip"] = header["aux_file"] = header["intent_name"] = header["db_name"] = TOKEN.encode()
    for code in (2, 4, 6, 44):
        header.extensions.append(nib.nifti1.Nifti1Extension(code, f"<{TOKEN}>".encode()))
    affine = np.diag([-0.8, -0.9, 3.0, 1.0])
    nib.save(nib.Nifti1Image(RNG.integers(0, 99, SHAPE[::-1]).astype(np.int16), affine, header), path)
    assert TOKEN.encode() in path.read_bytes() or path.suffix == ".gz"
    return path


def with_itk(path):
    image = sitk.GetImageFromArray(RNG.integers(0, 99, SHAPE).astype(np.int16))
    for key in ("PatientName", "0010|0010", "Comment", TOKEN, "content"):
        image.SetMetaData(key, TOKEN)
    sitk.WriteImage(image, str(path))
    return path


def nrrd(path):
    with_itk(path)
    content = path.read_bytes()
    first, rest = content.split(b"\n", 1)
    path.write_bytes(first + f"\n# {TOKEN}\ncontent: {TOKEN}\n".encode() + rest)
    return path


def series(folder):
    """Four slices with the token in every textual tag of the dictionary, private tags, and nested sequences."""
    from pydicom._dicom_dict import DicomDictionary

    folder.mkdir()
    filled = Dataset()
    for tag in DicomDictionary:
        keyword = keyword_for_tag(tag)
        group = tag >> 16
        if keyword and keyword not in KEPT and group >= 8 and dictionary_VR(tag) in TEXT_VRS:
            setattr(filled, keyword, TOKEN)
    block = filled.private_block(0x0009, f"{TOKEN} PRIVATE", create=True)
    block.add_new(1, "LO", TOKEN)
    block.add_new(2, "UN", TOKEN.encode())
    nested = Dataset()
    nested.PatientName, nested.CodeMeaning = TOKEN, TOKEN
    filled.ReferencedPatientSequence = filled.RequestAttributesSequence = [nested]
    filled.StudyDate = filled.PatientBirthDate = filled.AcquisitionDate = "18991231"
    for index in range(4):
        made = Dataset()
        made.update(filled)
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"1.2.3.{index + 1}"
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        made.Modality, made.Rows, made.Columns = "CT", *SHAPE[1:]
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 3 * index], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness = [0.9, 0.8], 3
        made.PixelData = RNG.integers(0, 99, SHAPE[1:]).astype("<u2").tobytes()
        for keyword in ("PixelPresentation", "LossyImageCompression", "PresentationLUTShape"):
            if keyword in made:
                del made[keyword]
        made.save_as(folder / f"{TOKEN}{index}.dcm", enforce_file_format=True)
    return folder


SOURCES = {
    "nii": lambda folder: nifti(folder / f"{TOKEN}.nii"),
    "nii.gz": lambda folder: nifti(folder / f"{TOKEN}.nii.gz"),
    "nrrd": lambda folder: nrrd(folder / f"{TOKEN}.nrrd"),
    "mha": lambda folder: with_itk(folder / f"{TOKEN}.mha"),
    "dicom": lambda folder: series(folder / TOKEN),
}


def unpacked(path):
    """The bytes of a file, and what is compressed in them."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return content, gzip.decompress(content)
    if path.suffix == ".nrrd":
        return content, gzip.decompress(content[content.index(b"\n\n") + 2 :])
    if path.suffix == ".mha":
        return content, zlib.decompress(content[content.index(b"= LOCAL\n") + 8 :])
    return (content,)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SOURCES)
def test_nothing_planted_comes_out(tmp_path, caplog, capfd, kind):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    image = SOURCES[kind](source)
    labels = RNG.choice(np.array([0, 1, 52], np.uint16), SHAPE)
    with caplog.at_level(logging.DEBUG):
        volume = read_volume(image)
        for suffix in (".nii", ".nii.gz", ".nrrd", ".mha", *([".dcm"] if kind == "dicom" else [])):
            write_labels(out / f"{suffix[1:].replace('.', '')}{suffix}", labels, volume, NAMES)
        write_each_label(out / "each.nii.gz", labels, volume, NAMES)
    written = list(out.rglob("*"))
    assert len(written) >= 10
    for file in written:
        for content in unpacked(file):
            assert TOKEN.encode() not in content, file.name
            assert TOKEN.encode("utf-16-le") not in content, file.name
            assert b"18991231" not in content, file.name
    heard = capfd.readouterr()
    assert TOKEN not in caplog.text + heard.out + heard.err
    assert TOKEN not in "".join(volume.source.notes)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("a.png", {}),
        ("plain.tif", {}),
        ("packed.tif", {"compression": "tiff_lzw"}),
        ("cut.jpg", {}),
        ("cut.tif", {}),
    ],
)
def test_no_tag_of_a_picture_is_logged(tmp_path, caplog, capfd, name, options):
    """Pillow logs every tag with its value at the level DEBUG."""
    tags = Image.Exif()
    tags[0x010E] = tags[0x013B] = tags[0x8298] = TOKEN  # description, artist, copyright
    tags[0x0112] = 6
    texts = PngInfo()
    texts.add_text(TOKEN, TOKEN, zip=True)
    picture = Image.fromarray(RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8))
    picture.convert("CMYK" if name == "plain.tif" else "RGB").save(
        tmp_path / name, exif=tags, **({"pnginfo": texts} if name == "a.png" else options)
    )
    if name.startswith("cut"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-20])
    with caplog.at_level(logging.DEBUG):
        try:
            volume = read_volume(tmp_path / name)
            said = "".join(volume.source.notes)
            write_labels(tmp_path / "m.nii", np.ones(volume.shape, np.uint8), volume)
            assert TOKEN.encode() not in (tmp_path / "m.nii").read_bytes()
        except SamAdaptError as error:
            said = str(error)
    heard = capfd.readouterr()
    assert TOKEN not in caplog.text + heard.out + heard.err + said


@pytest.mark.parametrize(
    "keyword", ["PixelSpacing", "ImagePositionPatient", "Rows", "BitsAllocated", "SliceThickness"]
)
def test_what_is_said_of_bad_headers_quotes_no_tag(tmp_path, caplog, keyword):
    folder = series(tmp_path / "ct")
    for file in folder.iterdir():
        changed = pydicom.dcmread(file)
        changed[keyword] = pydicom.DataElement(keyword, "LO", TOKEN)
        changed.save_as(file)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{number}.dcm")
    with caplog.at_level(logging.DEBUG):
        try:
            said = "".join(read_volume(folder).source.notes)
        except SamAdaptError as error:
            said = str(error) + for_log(error)
    assert TOKEN not in said + caplog.text


def test_a_log_holds_kinds_and_places_but_no_texts():
    def fails(secret):
        raise ValueError(secret)

    try:
        try:
            fails(TOKEN)
        except ValueError as error:
            raise RuntimeError(TOKEN) from error
    except RuntimeError as error:
        text = for_log(error)
    assert TOKEN not in text
    assert text.count("test_privacy.py:") == 3
    assert "RuntimeError" in text
    assert "ValueError" in text
