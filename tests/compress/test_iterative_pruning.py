import pytest
import torch
from torch import nn

from cc_ray.compress import apply_step, operation_of
from cc_ray.compress.iterative_pruning import IterativePruning
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import InvalidRecipeError, StoppedEarlyError
from cc_ray.recipe import Step
from tests.compress.test_fine_tune import loss
from tests.compress.tiny import base_model, checks, context, run


def sparsity(model: nn.Module) -> float:
    found = [target.tensor for target in layer_weights(model)]
    return 1 - sum(int(t.count_nonzero()) for t in found) / sum(t.numel() for t in found)


def watched(**said: object) -> tuple[nn.Module, list[tuple[int, float]]]:
    """The child, and what was reported: epochs so far and the sparsity then."""
    given, heard = context("cnn"), list[tuple[int, float]]()
    given.after_epoch = lambda model, epoch: heard.append((epoch, sparsity(model)))
    step = Step("iterative_pruning", {"sparsity": 0.8, "learning_rate": 0.01, **said})
    return apply_step(step, base_model("cnn"), given).model, heard


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cubic", [0.8 * (1 - 0.75**3), 0.7, 0.8 * (1 - 0.25**3), 0.8]),
        ("linear", [0.2, 0.4, 0.6, 0.8]),
        ("geometric", [1 - 0.2**0.25, 1 - 0.2**0.5, 1 - 0.2**0.75, 0.8]),
    ],
)
def test_the_sparsity_rises_as_the_schedule_says_and_each_epoch_is_reported(
    schedule: str, expected: list[float]
) -> None:
    model, heard = watched(schedule=schedule, rounds=4)

    assert [epoch for epoch, _ in heard] == [1, 2, 3, 4]
    assert [found for _, found in heard] == pytest.approx(expected, abs=1e-3)
    assert sparsity(model) == pytest.approx(0.8, abs=1e-3)


def test_epochs_of_rounds_add_up() -> None:
    _, heard = watched(rounds=2, epochs=2, schedule="linear")

    assert [epoch for epoch, _ in heard] == [1, 2, 3, 4]
    assert [found for _, found in heard] == pytest.approx([0.4, 0.4, 0.8, 0.8], abs=1e-3)


def test_early_stopping_ends_it_between_rounds() -> None:
    given = context("cnn")

    def stop(model: nn.Module, epoch: int) -> None:
        if epoch == 2:
            raise StoppedEarlyError("enough")

    given.after_epoch = stop

    with pytest.raises(StoppedEarlyError, match="enough"):
        apply_step(Step("iterative_pruning", {"sparsity": 0.8, "rounds": 5}), base_model("cnn"), given)


def test_rounds_harm_less_than_one_shot_with_as_much_training() -> None:
    model = run("fine_tune", base_model("cnn"), epochs=6, learning_rate=0.01, batch_size=16).model

    rounds = run("iterative_pruning", model, sparsity=0.9, rounds=4, epochs=2, learning_rate=0.01, batch_size=16).model
    pruned = run("magnitude_pruning", model, sparsity=0.9).model

    assert sparsity(rounds) == pytest.approx(sparsity(pruned), abs=1e-3)
    assert loss(rounds) < loss(pruned)


def test_the_score_is_that_of_the_operation_named() -> None:
    step = {"sparsity": 0.5, "scope": "row", "include": ["head"], "exclude": ["stem"]}
    made = operation_of(Step("iterative_pruning", {**step, "score": "wanda_pruning", "levels": {"head": 0.6}}))
    assert isinstance(made, IterativePruning)

    inner = made._round(0.5)

    assert inner.model_dump() == {
        **{"sparsity": 0.4375, "levels": {"head": pytest.approx(0.525)}, "semi_structured": None},
        **{"scope": "row", "include": ("head",), "exclude": ("stem",), "instances": 128},
    }


def test_of_blocks_more_go_every_round() -> None:
    outcome = run(
        "iterative_pruning", base_model("cnn"), sparsity=0.75, semi_structured="1:4", rounds=3, schedule="linear"
    )
    made = operation_of(Step("iterative_pruning", {"sparsity": 0.75, "semi_structured": "1:4", "rounds": 3}))
    assert isinstance(made, IterativePruning)

    assert [made._round(done).semi_structured for done in (0.05, 0.3, 1.0)] == [None, "2:4", "1:4"]
    kept = outcome.model.get_parameter("head.weight").view(-1, 4) != 0
    assert set(kept.sum(1).tolist()) == {1}
    assert checks(outcome).keys() == {"targets_left_out"}


@pytest.mark.parametrize("score", ["sparsegpt_pruning", "fine_tune", "magnitude"])
def test_what_gives_no_scores_is_refused_with_what_does(score: str) -> None:
    with pytest.raises(InvalidRecipeError, match="must be one of magnitude_pruning, random_pruning, taylor_pruning"):
        operation_of(Step("iterative_pruning", {"sparsity": 0.5, "score": score}))


def test_a_pattern_that_matches_nothing_is_told_once() -> None:
    outcome = run("iterative_pruning", base_model("cnn"), sparsity=0.5, exclude=["hat"], rounds=3)

    assert [finding.check for finding in outcome.findings].count("pattern_unmatched") == 1
    assert torch.isfinite(torch.cat([p.flatten() for p in outcome.model.parameters()])).all()
