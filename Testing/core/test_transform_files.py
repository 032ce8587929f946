"""Transforms on disk: what comes back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from NETAblationLib.core import frames
from NETAblationLib.core.errors import FormatError, GeometryError, InputError
from NETAblationLib.core.fusion import read_transform, write_transform
from support.deformation import breathing
from support.shapes import grid

POINTS = np.random.default_rng(0).uniform(-40, 40, (200, 3))


def composite() -> sitk.Transform:
    box = grid((-60, -60, -60), (60, 60, 60), (10, 10, 10))
    rigid = frames.affine_transform(np.array([[0, -1, 0, 5], [1, 0, 0, -3], [0, 0, 1, 8.5], [0, 0, 0, 1.0]]))
    return sitk.CompositeTransform([rigid, breathing((0, 0, 0)).fixed_to_moving_transform(box)])


@pytest.mark.parametrize("suffix", [".h5", ".tfm"])
def test_points_map_the_same_after_a_round_trip(tmp_path, suffix):
    written, path = composite(), tmp_path / f"t{suffix}"
    write_transform(written, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    expected = frames.transform_points(written, POINTS)
    for read in (read_transform(path), sitk.ReadTransform(str(path))):
        assert np.abs(frames.transform_points(read, POINTS) - expected).max() < 1e-9
        lps = frames.flip_lps_ras(POINTS[0]).tolist()  # ITK itself agrees with the vectorized mapping
        assert np.allclose(frames.flip_lps_ras(read.TransformPoint(lps)), expected[0], atol=1e-6)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "t.h5"
    write_transform(composite(), path)
    before = path.read_bytes()
    with pytest.raises(GeometryError):
        write_transform(sitk.Euler2DTransform(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["t.txt", "t.nrrd", "t"])
def test_other_suffixes_are_refused(tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(FormatError, match="h5"):
        write_transform(composite(), tmp_path / name)
    with pytest.raises(FormatError, match="h5"):
        read_transform(tmp_path / name)


def test_damaged_foreign_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "t.h5"
    write_transform(composite(), path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FormatError, match=r"t\.h5"):
        read_transform(path)
    (tmp_path / "u.tfm").write_text("#Insight Transform File V1.0\n#Transform 0\nTransform: Nonsense_double_3_3\n")
    with pytest.raises(FormatError, match=r"u\.tfm"):
        read_transform(tmp_path / "u.tfm")
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(FormatError, match=r"empty\.h5"):
        read_transform(tmp_path / "empty.h5")
    with pytest.raises(InputError, match="no such file"):
        read_transform(tmp_path / "missing.h5")


def test_2d_and_not_finite_transforms_are_refused(tmp_path):
    sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "flat.tfm"))
    with pytest.raises(GeometryError, match="2D"):
        read_transform(tmp_path / "flat.tfm")
    broken = sitk.Image((4, 4, 4), sitk.sitkVectorFloat64)
    broken[0, 0, 0] = (np.nan, 0.0, 0.0)
    field = sitk.CompositeTransform([sitk.AffineTransform(3), sitk.DisplacementFieldTransform(broken)])
    with pytest.raises(GeometryError, match="not finite"):
        write_transform(field, tmp_path / "nan.h5")


def test_no_folder_and_no_transform_are_refused(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        write_transform(composite(), tmp_path / "missing" / "t.h5")
    with pytest.raises(InputError, match="str"):
        write_transform("transform", tmp_path / "t.h5")
