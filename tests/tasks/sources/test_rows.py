import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources import Rows, class_labels, fingerprint, located
from cc_ray.tasks.sources.images import pixels, png

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3)).astype(np.uint8)
"""(n, height, width, channels)"""
NAMES = ("cat", "dog", "cat")
LABELS = [0, 1, 0]


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def folders(root: Path) -> str:
    for place, (image, name) in enumerate(zip(IMAGES, NAMES, strict=True)):
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{place}.png").write_bytes(encoded(image))
    return str(root)


def hub_parquet(root: Path) -> str:
    """As data sets of the Hugging Face hub are."""
    images = pa.array([{"bytes": encoded(image), "path": None} for image in IMAGES])
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table({"image": images, "label": LABELS}, metadata=metadata), root / "train-0.parquet")
    (root / "README.md").write_text("not data")
    return str(root)


def npz(root: Path) -> str:
    np.savez(root / "all.npz", image=IMAGES.transpose(0, 3, 1, 2), label=LABELS)
    return str(root / "*.npz")


def csv(root: Path) -> str:
    for place, image in enumerate(IMAGES):
        (root / f"{place}.png").write_bytes(encoded(image))
    table = pa.table({"image": [f"{place}.png" for place in range(3)], "label": NAMES})
    pyarrow.csv.write_csv(table, root / "all.csv")
    return str(root / "all.csv")


@pytest.mark.parametrize("written", [folders, hub_parquet, npz, csv])
def test_images_are_read_from(written: object, tmp_path: Path) -> None:
    rows = Rows.read(written(tmp_path))  # type: ignore[operator]

    labels, names = class_labels(rows, "label")

    order = [0, 2, 1] if written is folders else [0, 1, 2]
    assert (pixels(rows, "image", "RGB") == IMAGES[order].transpose(0, 3, 1, 2)).all()
    assert labels.tolist() == [LABELS[place] for place in order]
    assert names == (("0", "1") if written is npz else ("cat", "dog"))


def test_images_come_to_a_size_and_to_grey(tmp_path: Path) -> None:
    rows = Rows.read(npz(tmp_path))

    assert pixels(rows, "image", "L", (8, 8)).shape == (3, 1, 8, 8)
    assert pixels(rows, "image", "RGB", (2, 3), "stretch").shape == (3, 3, 2, 3)


@pytest.mark.parametrize(("shape", "shown"), [((1, 8, 8), (64, 64)), ((3, 5, 4), (52, 65)), ((3, 400, 200), (80, 160))])
def test_a_thumbnail_suits_a_screen(shape: tuple[int, int, int], shown: tuple[int, int]) -> None:
    assert Image.open(io.BytesIO(png(np.zeros(shape, np.uint8)))).size == shown


def test_images_of_different_sizes_ask_for_one(tmp_path: Path) -> None:
    folders(tmp_path)
    (tmp_path / "dog" / "large.png").write_bytes(encoded(np.zeros((9, 9, 3), np.uint8)))

    with pytest.raises(InvalidRecipeError, match="row 3 has 9 x 9 pixels, the first 4 x 5: say with `size`"):
        pixels(Rows.read(str(tmp_path)), "image", "RGB")


def test_names_of_classes_may_be_given(tmp_path: Path) -> None:
    rows = Rows.read(csv(tmp_path))

    assert class_labels(rows, "label", ("dog", "cat"))[0].tolist() == [1, 0, 1]
    with pytest.raises(InvalidRecipeError, match="has the label 'cat', none of the classes dog"):
        class_labels(rows, "label", ("dog",))
    with pytest.raises(InvalidRecipeError, match="no column 'breed'; there are: image, label"):
        class_labels(rows, "breed")


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    rows = Rows(pa.table({"label": [0, 1, label]}), {}, Path())

    with pytest.raises(InvalidRecipeError, match="2 classes are known"):
        class_labels(rows, "label", ("a", "b"))


def test_a_missing_label_is_refused() -> None:
    with pytest.raises(InvalidRecipeError, match="lacks 1 labels"):
        class_labels(Rows(pa.table({"label": ["a", None]}), {}, Path()), "label")


def test_columns_of_several_files_are_joined(tmp_path: Path) -> None:
    for place in range(2):
        pq.write_table(pa.table({"sex": pa.array(["f", "m"]).dictionary_encode()}), tmp_path / f"{place}.parquet")

    assert Rows.read(str(tmp_path)).column("sex").to_pylist() == ["f", "m", "f", "m"]


def pickled(root: Path) -> None:
    np.savez(root / "a.npz", image=np.array([object()]))


def ragged(root: Path) -> None:
    np.savez(root / "a.npz", image=np.zeros((3, 2)), label=np.zeros(2))


def mixed(root: Path) -> None:
    (root / "a.csv").write_text("x\n1")
    pq.write_table(pa.table({"x": [1]}), root / "b.parquet")


def broken(root: Path) -> None:
    (root / "a.parquet").write_bytes(b"no parquet")


def flat(root: Path) -> None:
    (root / "a.png").write_bytes(encoded(IMAGES[0]))


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (pickled, "Object arrays cannot be loaded"),
        (ragged, r"image \(3, 2\), label \(2,\); the first axis"),
        (mixed, "kinds .csv, .parquet; give those of one kind"),
        (broken, "Parquet"),
        (flat, "a folder of images for each class"),
    ],
)
def test_what_is_no_data_says_so(written: object, says: str, tmp_path: Path) -> None:
    written(tmp_path)  # type: ignore[operator]

    with pytest.raises(InvalidRecipeError, match=says):
        Rows.read(str(tmp_path))


@pytest.mark.parametrize(
    "value", ["../secret.png", "/etc/passwd", "none.png", None, b"no image", encoded(IMAGES[0])[:60]]
)
def test_a_file_that_data_names_lies_beside_them(value: object, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(IMAGES[0]))
    (tmp_path / "data").mkdir()
    rows = Rows(pa.table({"image": pa.array([value])}), {}, tmp_path / "data")

    with pytest.raises(InvalidRecipeError, match=r"row 0 of the data in .* holds no image"):
        pixels(rows, "image", "RGB")


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    rows = Rows(pa.table({"image": [encoded(IMAGES[0])]}), {}, tmp_path)

    with pytest.raises(InvalidRecipeError, match="holds no image"):
        pixels(rows, "image", "RGB")


def test_an_address_without_files_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipeError, match=r"there is no file at '.*none.npz'"):
        located(str(tmp_path / "none.npz"))


def test_a_fingerprint_is_of_content_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        root.mkdir()
        npz(root)

    assert fingerprint([str(one / "all.npz")]) == fingerprint([str(other / "*.npz")])
    np.savez(other / "all.npz", image=IMAGES, label=[1, 1, 1])
    assert fingerprint([str(one / "all.npz")]) != fingerprint([str(other / "all.npz")])


def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = npz(tmp_path)
    first = fingerprint([address])
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))

    assert fingerprint([address]) == first


def test_the_hub_is_asked_for_the_files_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def snapshot(name: str, **fields: object) -> str:
        asked.update(name=name, **fields)
        return hub_parquet(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)

    rows = Rows.read("hf://datasets/owner/cats@v1/train-*.parquet")

    assert len(rows) == 3
    assert asked == {
        "name": "owner/cats",
        "repo_type": "dataset",
        "revision": "v1",
        "allow_patterns": "train-*.parquet",
    }
    with pytest.raises(InvalidRecipeError, match="'owner/cats' on the hub has no file 'test-"):
        located("hf://owner/cats/test-*")
    with pytest.raises(InvalidRecipeError, match="no address of the hub"):
        located("hf://../x")
