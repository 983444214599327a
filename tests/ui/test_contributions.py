"""What napari's menus offer: manifest, reader, writer, samples; and that looking at them is cheap."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from npe2 import PluginManifest

import napari_samadapt
from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.imaging.file_kinds import PATTERNS
from napari_samadapt.imaging.reading import read_volume
from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.imaging.writing import write_labels
from napari_samadapt.ui import contributions
from napari_samadapt.ui.layers import VolumeLayers

MANIFEST = Path(napari_samadapt.__file__).with_name("napari.yaml")


@pytest.fixture
def nifti(tmp_path):
    """An oblique NIfTI of 6 × 20 × 30 voxels (z, y, x)."""
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.7, 3.0])
    affine[:3, 3] = (-11, 22, 33)
    rng = np.random.default_rng(0)
    path = tmp_path / "scan.nii.gz"
    nibabel.Nifti1Image(rng.integers(0, 400, (30, 20, 6), np.int16), affine).to_filename(path)
    return path


def test_the_manifest_is_valid_and_complete():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    points = manifest.contributions
    assert [writer.filename_extensions for writer in points.writers] == [[".nii.gz", ".nii", ".nrrd", ".mha"]]
    assert points.readers[0].accepts_directories
    assert set(points.readers[0].filename_patterns) == set(PATTERNS.split())
    assert {sample.key for sample in points.sample_data} == {"ct", "mr", "ultrasound"}
    assert set(points.menus) == {"napari/layers/segment", "napari/layers/annotate"}


def test_looking_at_the_menu_imports_nothing_heavy():
    code = (
        "import sys, napari_samadapt.ui.contributions\n"
        "heavy = {'torch', 'SimpleITK', 'nibabel', 'pydicom', 'skimage', 'pyqtgraph', 'napari'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"imported: {done.stderr}"


def test_a_volume_becomes_an_image_layer_of_its_voxel_size(nifti):
    read = contributions.get_reader(str(nifti))
    (data, keywords, kind) = read(str(nifti))[0]
    layer = Layer.create(data, keywords, kind)
    assert layer.name == "scan"
    assert layer.data.shape == (6, 20, 30)
    assert np.allclose(layer.scale, (3, 0.7, 0.7))
    assert np.allclose(layer.metadata[contributions.VOLUME_KEY].affine[:3, 3], (-11, 22, 33))


def test_a_folder_is_read_only_if_it_holds_dicom(tmp_path):
    (tmp_path / "notes.txt").write_text("x" * 200)
    assert contributions.get_reader(str(tmp_path)) is None
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    assert contributions.get_reader(str(tmp_path)) is not None
    assert contributions.get_reader(["a.nii", "b.nii"]) is None


def test_saving_the_layer_gives_the_file_of_the_export(nifti, tmp_path):
    volume, viewer = read_volume(nifti), ViewerModel()
    annotation = np.zeros(volume.shape, np.uint16)
    annotation[2, 4:9, 5:15] = 3
    prediction = np.zeros_like(annotation)
    prediction[4, 4:9, 5:15] = 7
    layers = VolumeLayers(viewer, volume, annotation, prediction, lambda: annotation + prediction)
    layers.annotation.metadata[contributions.NAMES_KEY] = {3: "liver", 7: "spleen"}
    data, meta, _ = layers.annotation.as_layer_data_tuple()
    written = contributions.write_labels_layer(str(tmp_path / "saved.nii.gz"), data, meta)
    exported = write_labels(
        tmp_path / "exported.nii.gz", annotation + prediction, volume, {3: "liver", 7: "spleen"}
    )
    saved, other = nibabel.load(written[0]), nibabel.load(exported)
    assert np.array_equal(np.asarray(saved.dataobj), np.asarray(other.dataobj))
    assert saved.header == other.header
    assert np.array_equal(saved.affine, volume.affine)
    names = [path.with_name(path.name.replace(".nii.gz", ".json")).read_text() for path in (exported,)]
    assert "spleen" in names[0]
    assert (tmp_path / "saved.json").read_text() == names[0]


def test_any_labels_layer_can_be_written(tmp_path):
    labels = np.zeros((8, 9), np.int32)
    labels[2:4, 3:5] = 300
    written = contributions.write_labels_layer(str(tmp_path / "any.nii.gz"), labels, {"scale": (0.5, 0.25)})
    image = nibabel.load(written[0])
    assert np.array_equal(np.asarray(image.dataobj)[:, :, 0].T, labels)
    assert np.allclose(image.header.get_zooms()[:2], (0.25, 0.5))
    with pytest.raises(SamAdaptError, match="2D and 3D"):
        contributions.write_labels_layer(str(tmp_path / "4d.nii"), np.zeros((2, 2, 2, 2), int), {})


@pytest.mark.parametrize("name", ["ct", "mr", "ultrasound"])
def test_samples_open(name):
    (data, keywords, kind) = getattr(contributions, f"sample_{name}")()[0]
    layer = Layer.create(data, keywords, kind)
    assert layer.data.shape[0] == (1 if name == "ultrasound" else layer.data.shape[0])
    assert min(layer.data.shape[1:3]) >= 64


def test_a_resampled_copy_is_called_so():
    data = np.zeros((3, 4, 5), np.int16)
    copy = Volume(data, np.eye(4), Source(Path("scan.nii"), "dicom", resampled=True))
    assert contributions.image_layer_tuple(copy)[1]["name"] == "scan (resampled)"


def test_a_folder_that_cannot_be_looked_into_is_told_when_it_is_read(tmp_path, monkeypatch):
    def locked(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(contributions, "holds_dicom", locked)
    assert contributions.get_reader(str(tmp_path)) is contributions.read_layers
