from typing import Any

from cc_ray.compare.labels import Labels, letter, points_text, title
from cc_ray.recipe import canonical_json


def row(parent: str | None, operation: str | None, **parameters: Any) -> dict[str, Any]:
    return {"base": "resnet", "parent": parent, "operation": operation, "parameters": canonical_json(parameters)}


def test_only_parameters_that_differ_are_named_numbers_first() -> None:
    labels = Labels(
        {
            "base": row(None, None),
            "a": row("base", "magnitude_pruning", sparsity=0.5, scope="global", include=[]),
            "b": row("base", "magnitude_pruning", sparsity=0.75, scope="layer", include=[]),
            "c": row("b", "calibrate"),
        }
    )

    assert labels.step("a") == "0.5 global"
    assert labels.name("c") == "resnet › Magnitude pruning 0.75 layer › Calibrate"
    assert labels.brief("b") == "Magnitude 0.75 layer"
    assert labels.step("base") == labels.last("base") == "resnet"


def test_values_that_need_it_carry_their_unit() -> None:
    labels = Labels(
        {
            "a": row(None, "fine_tune", epochs=1, learning_rate=0.001),
            "b": row(None, "fine_tune", epochs=2, learning_rate=0.01),
            "c": row(None, "uniform_quantization", bits=4),
            "d": row(None, "uniform_quantization", bits=8),
        }
    )

    assert labels.step("a") == "1 epoch rate 0.001"
    assert labels.step("b") == "2 epochs rate 0.01"
    assert labels.step("d") == "8 bits"


def test_a_model_whose_parent_is_not_there_begins_its_own_name() -> None:
    assert Labels({"a": row("gone", "calibrate")}).name("a") == "Calibrate"


def test_words_and_letters() -> None:
    assert title("quantize_weights") == "Quantize weights"
    assert [letter(place) for place in (0, 25, 26)] == ["A", "Z", "27"]


def test_models_side_by_side_are_told_apart_by_the_nearest_difference() -> None:
    labels = Labels(
        {
            "base": row(None, None),
            "a": row("base", "channel_pruning", ratio=0.25),
            "b": row("base", "channel_pruning", ratio=0.5),
            "c": row("a", "calibrate"),
            "d": row("b", "calibrate"),
            "e": row("c", "fine_tune"),
            "f": row("d", "fine_tune"),
        }
    )

    assert labels.apart(["a", "b"]) == {"a": "Channel pruning 0.25", "b": "Channel pruning 0.5"}
    assert labels.apart(["c", "d"])["c"] == "Channel pruning 0.25 › Calibrate"
    assert labels.apart(["e", "f"])["f"] == "Channel pruning 0.5 … Fine tune"


def test_points_that_round_to_nothing_have_no_sign() -> None:
    assert [points_text(points) for points in (0.04, -0.04, 1.25, -3.9)] == ["0", "0", "+1.2", "−3.9"]


def test_what_names_leave_out_is_said_once() -> None:
    labels = Labels(
        {
            "base": row(None, None),
            "a": row("base", "fine_tune", epochs=1, learning_rate=0.01),
            "b": row("a", "fine_tune", epochs=2, learning_rate=0.01),
            "c": row("base", "calibrate", batch_size=8),
        }
    )

    assert labels.unsaid(["b"]) == {"fine_tune": "learning_rate=0.01"}
    assert labels.unsaid(["base"]) == {}
