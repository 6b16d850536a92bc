import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cc_ray
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.tasks import SPLITS, task_from_json
from cc_ray.tasks.image_classification import ImageClassification, moved
from cc_ray.trial import ensure_task, load_model
from tests.tasks.running import models_made

NETWORK = "cc_ray.tasks.architectures.resnet_cifar:ResNet"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ImageClassification:
    return ImageClassification.example(tmp_path_factory.mktemp("images"))


def changed(task: ImageClassification, **fields: Any) -> ImageClassification:
    made = task_from_json({"task": task.name, "parameters": task.model_dump(mode="json") | fields})
    assert isinstance(made, ImageClassification)
    return made


def with_model(task: ImageClassification, **fields: Any) -> ImageClassification:
    return changed(task, models={"resnet": task.models["resnet"].model_dump(mode="json") | fields})


def state_of(module: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in module.state_dict().items()}


def test_a_recipe_runs_on_it(task: ImageClassification, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)

    made = models_made(
        store, task, Recipe("resnet", (Step("magnitude_pruning", {"sparsity": 0.3, "scope": "global"}),))
    )

    rows = store.read("metrics", keys={"step": made[-1]}).to_pylist()
    accuracy = {row["slice"]: row["value"] for row in rows if row["metric"] == "accuracy"}
    assert accuracy.keys() >= {"all", "class:dark", "class:light"}
    assert accuracy["all"] > 0.9
    model, data = load_model(store, made[-1]), task.data("evaluation")
    with torch.no_grad():
        right = task.logits(model, data.inputs).argmax(1) == data.labels
    assert right.double().mean() == pytest.approx(accuracy["all"])


def test_images_are_normalised_and_shown(task: ImageClassification) -> None:
    plain, scaled = task.data("train"), changed(task, mean=[0.5], std=[0.25]).data("train")

    assert plain.inputs.min() >= 0
    assert plain.inputs.max() <= 1
    assert torch.allclose(scaled.inputs, (plain.inputs - 0.5) / 0.25)
    row = task.instances().to_pylist()[0]
    assert row["instance"] == task.data("evaluation").instances[0]
    assert row["slices"] == [f"class:{row['label_name']}"]
    assert Image.open(io.BytesIO(row["payload"])).size == (64, 64)


def test_classes_and_slices_may_come_from_the_data(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 4, 4)).astype(np.uint8)
    kind, light = generator.choice(["cat", "dog"], 60), generator.uniform(size=60)
    np.savez(tmp_path / "all.npz", x=images, y=kind, brightness=light, camera=generator.choice(["a", "b"], 60))
    task = ImageClassification.model_validate(
        {
            "models": {"net": {"factory": NETWORK, "training": {"epochs": 1}}},
            "sources": {"train": str(tmp_path / "all.npz")},
            "image": "x",
            "label": "y",
            "colours": "L",
            "slices": [
                "camera",
                {"column": "brightness", "edges": [0.5]},
                {"name": "bright cats", "where": "brightness > 0.5 and y == 'cat'"},
            ],
        }
    )

    rows = task.instances().to_pylist()

    assert task.class_names == ("cat", "dog")
    for row in rows:
        place, names = row["instance"], row["slices"]
        bright = light[place] >= 0.5
        assert f"brightness:{'>=0.5' if bright else '<0.5'}" in names
        assert ("bright cats" in names) == (bright and kind[place] == "cat")
        assert [name for name in names if name.startswith("camera:")]


def test_data_are_read_once(task: ImageClassification, monkeypatch: pytest.MonkeyPatch) -> None:
    task.data("train")
    monkeypatch.setattr("cc_ray.tasks.sources.Rows.read", lambda _: pytest.fail("read again"))

    assert changed(task).data("train").inputs is task.data("train").inputs


def test_where_files_lie_makes_no_other_task(task: ImageClassification, tmp_path: Path) -> None:
    held = Path(task.sources.train)
    (tmp_path / "elsewhere.npz").write_bytes(held.read_bytes())

    assert changed(task, sources={"train": str(tmp_path / "elsewhere.npz")}).task_id == task.task_id
    assert changed(task, mean=[0.5]).task_id != task.task_id
    np.savez(tmp_path / "elsewhere.npz", image=np.zeros((80, 1, 8, 8), np.uint8), label=np.arange(80) % 2)
    assert changed(task, sources={"train": str(tmp_path / "elsewhere.npz")}).task_id != task.task_id


def test_it_comes_back_from_json(task: ImageClassification) -> None:
    assert task_from_json(task.to_json()) == task


@pytest.mark.parametrize("kind", ["pickle", "safetensors"])
def test_weights_are_those_of_the_file(kind: str, task: ImageClassification, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    trained = task.train("resnet", seed=3)
    if kind == "pickle":
        torch.save({"epoch": 7, "ema": {"model": state_of(trained, "module.")}}, tmp_path / "weights")
    else:
        save_file(state_of(trained, "module."), tmp_path / "weights.safetensors")
    fields = {"weights": str(tmp_path / "weights*"), "prefix": "module.", "training": None}
    given = with_model(task, **fields, **({"key": "ema.model"} if kind == "pickle" else {}))

    read = given.train("resnet", seed=0)

    assert all(torch.equal(value, read.state_dict()[name]) for name, value in trained.state_dict().items())
    assert not read.training
    assert given.task_id != task.task_id


def test_weights_that_are_there_are_trained_further_if_asked(task: ImageClassification, tmp_path: Path) -> None:
    start = task.train("resnet", seed=0)
    torch.save(state_of(start), tmp_path / "weights.pt")
    given = with_model(task, weights=str(tmp_path / "weights.pt"), training={"epochs": 1, "learning_rate": 1e-6})

    further = given.train("resnet", seed=0)

    difference = max(
        (one - other).abs().max() for one, other in zip(start.parameters(), further.parameters(), strict=True)
    )
    assert 0 < difference < 1e-4


def wrong_names(module: nn.Module) -> Any:
    return state_of(module, "net.")


def wrong_shapes(module: nn.Module) -> Any:
    return {**state_of(module), "linear.weight": torch.zeros(3, 16)}


def nested(module: nn.Module) -> Any:
    return {"state": state_of(module)}


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('executed')",)


def hostile(module: nn.Module) -> Any:
    return {"weight": Hostile()}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (wrong_names, r"the file lacks conv1.weight.* and \d+ more. Check `prefix`"),
        (wrong_shapes, r"has linear.weight of shape \(3, 16\), the model of \(2, 16\)"),
        (nested, "are no state dict: they hold state. Say where it lies with `key`"),
        (hostile, "cannot be read as tensors alone"),
    ],
)
def test_weights_that_do_not_fit_say_why(written: Any, says: str, task: ImageClassification, tmp_path: Path) -> None:
    torch.save(written(task.build("resnet")), tmp_path / "weights.pt")

    with pytest.raises(InvalidRecipeError, match=says):
        with_model(task, weights=str(tmp_path / "weights.pt")).train("resnet", seed=0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"factory": "os:system", "arguments": {"command": "false"}}, "does not say that it makes a model"),
        ({"factory": "builtins:eval"}, "does not say that it makes a model"),
        ({"factory": "subprocess:run"}, "does not say that it makes a model"),
        ({"factory": "torch.hub:load"}, "does not say that it makes a model"),
        ({"factory": "collections:OrderedDict"}, "does not say that it makes a model"),
        ({"factory": "no_such_package:make"}, "cannot be imported: No module named 'no_such_package'"),
        ({"factory": "torch:no_such"}, "cannot be imported: .*no_such"),
        ({"arguments": {"blocks": 1}}, r"ResNet\(blocks=1\) failed: .*'classes'"),
        ({"arguments": {"trust_remote_code": True}}, "'trust_remote_code' is not allowed"),
    ],
)
def test_a_factory_is_hostile_until_it_says_that_it_makes_models(
    fields: dict[str, Any], says: str, task: ImageClassification
) -> None:
    given = with_model(task, **fields)

    with pytest.raises(InvalidRecipeError, match=says):
        given.build("resnet")


@pytest.mark.parametrize("factory", ["os.system", "a b:c", "os:path.join", "../x:y", ":x", "x:", "__import__('os'):x"])
def test_what_is_no_name_of_a_function_is_refused_at_once(factory: str, task: ImageClassification) -> None:
    with pytest.raises(InvalidRecipeError, match="factory"):
        with_model(task, factory=factory)


def test_looking_at_a_store_imports_nothing(
    task: ImageClassification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task of a stranger's store names a module that is there to be imported, and it is not."""
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    stranger = with_model(task, factory="planted:make")
    store = Store(tmp_path / "store", create=True)

    ensure_task(store, stranger)

    looked = cc_ray.open(tmp_path / "store")
    assert looked.sql("SELECT task FROM tasks").to_pandas().task.tolist() == ["image_classification"]
    assert looked.models().to_pandas().empty
    (row,) = store.read("tasks").to_pylist()
    assert stranger == task_from_json({"task": row["task"], "parameters": json.loads(row["parameters"])})
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"models": {}}, "models"),
        ({"models": {"a b": {"factory": NETWORK, "training": {"epochs": 1}}}}, "models"),
        ({"models": {"net": {"factory": NETWORK}}}, "no weights and no training"),
        ({"models": {"net": {"factory": NETWORK, "training": {"epochs": 0}}}}, "epochs"),
        ({"std": [0]}, "std"),
        ({"size": [0, 8]}, "size"),
        ({"mean": [1, 2, 3]}, "mean has 3 numbers; allowed: 1 or 1"),
        ({"slices": [{"name": "x", "where": "__import__('os')"}]}, "slices"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_fields_that_do_not_fit_are_refused_at_once(
    fields: dict[str, Any], says: str, task: ImageClassification
) -> None:
    with pytest.raises(InvalidRecipeError, match=says):
        changed(task, **fields)


def test_a_model_of_other_classes_says_so(task: ImageClassification) -> None:
    arguments = task.models["resnet"].model_dump()["arguments"] | {"classes": 3}
    given = with_model(task, arguments=arguments)

    with pytest.raises(InvalidRecipeError, match=r"gives outputs of shape \(3,\), the task has 2 classes"):
        given.train("resnet", seed=0)


def test_an_unknown_base_model_tells_those_that_exist(task: ImageClassification) -> None:
    with pytest.raises(InvalidRecipeError, match="has no base model 'vit': use resnet"):
        task.build("vit")


def test_images_in_training_are_mirrored_and_moved() -> None:
    images = torch.arange(1.0, 10).reshape(1, 1, 3, 3).expand(50, 2, 3, 3)

    changed = moved(images, 1, torch.Generator().manual_seed(0))

    assert changed.shape == images.shape
    assert (changed == images).all(dim=(1, 2, 3)).any()
    assert any((image == 0).any() for image in changed)
    assert {float(image.max()) for image in changed} <= {5.0, 6.0, 8.0, 9.0}


def test_a_model_of_transformers_is_read_from_a_folder(task: ImageClassification, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=2,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    saved = ViTForImageClassification(config).eval()
    saved.save_pretrained(tmp_path / "vit")
    given = changed(task, models={"vit": {"transformers": str(tmp_path / "vit")}})
    inputs = given.data("calibration").inputs

    read = given.train("vit", seed=0)

    with torch.no_grad():
        assert torch.equal(given.logits(read, inputs), saved(inputs).logits)
        assert given.logits(given.build("vit"), inputs).shape == (len(inputs), 2)
    three = changed(given, classes=["dark", "light", "neither"])
    with pytest.raises(InvalidRecipeError, match="tells 2 classes apart, the task has 3"):
        three.build("vit")
    trained = changed(three, models={"vit": {"transformers": str(tmp_path / "vit"), "training": {"epochs": 1}}})
    with torch.no_grad():
        assert trained.logits(trained.train("vit", seed=0), inputs).shape == (len(inputs), 3)


def test_every_split_has_images(task: ImageClassification) -> None:
    assert sum(len(task.data(split)) for split in SPLITS) == 80
