"""What every operation keeps to, whoever wrote it: runs over all that is registered, entry points included.

An operation says that a model gives it nothing to work on by raising `NotApplicableError`.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

from cc_ray.compress import (
    Operation,
    Outcome,
    Representation,
    apply_step,
    operation_of,
    operations,
    representation_of,
    validated_step,
)
from cc_ray.compress.base import Family
from cc_ray.compress.targets import Targeted, layer_weights
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Step
from cc_ray.store.artifacts import is_quantized, load_model, save_model
from cc_ray.store.exported import RUN_PROGRAMS
from cc_ray.store.layout import Draft
from cc_ray.store.weights import read_weights
from tests.compress.tiny import MODELS, base_model, context, outputs, task_of, tensors

PREPARED: dict[Representation, tuple[Step, ...]] = {
    "float": (),
    "simulated": (Step("uniform_quantization", {"bits": 5}),),
    "quantized": (Step("quantize_weights"),),
}
ALL_WAYS = ("cnn",)
"""Models on which every example is tried, from every representation; the others take the first, from floats."""
NOTHING_TO_DO = {
    "bias_correction": {"language"},
    "calibrate": {"vit", "language", "odd"},
    "channel_pruning": {"language", "odd"},
    "fuse_layers": {"vit", "language", "odd"},
    "head_pruning": {"plain", "cnn", "language", "odd"},
    "layer_pruning": {"plain", "cnn", "odd"},
    "neuron_pruning": {"plain", "cnn", "odd"},
}
"""Operations of this package and the models that they do not apply to."""
SLOW = {"export_onnx"}
"""Operations that take seconds on the smallest model."""


@pytest.fixture(autouse=True)
def programs_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exported ones are those of these tests themselves."""
    monkeypatch.setenv(RUN_PROGRAMS, "1")


@dataclass(frozen=True)
class Case:
    step: Step
    base: str
    given: Representation

    def __str__(self) -> str:
        return f"{self.step}-{self.base}-{self.given}"


def cases() -> list[Case]:
    return [
        Case(Step(name, example), base, given)
        for name, kind in operations.items()
        for example in kind.examples
        for base in MODELS
        for given in PREPARED
        if given in kind.accepts and (base in ALL_WAYS or (example, given) == (kind.examples[0], "float"))
    ]


def slow(name: str) -> Sequence[pytest.MarkDecorator]:
    return [pytest.mark.slow] if name in SLOW else []


def kinds() -> list[Any]:
    return [pytest.param(kind, id=name, marks=slow(name)) for name, kind in operations.items()]


def prepared(case: Case) -> nn.Module:
    """A fresh model in the representation that the case starts from."""
    model = base_model(case.base)
    for step in PREPARED[case.given]:
        model = apply_step(step, model, context(case.base)).model
    return model


parent_of = cache(prepared)


def applied(case: Case, seed: int = 7) -> Outcome:
    return apply_step(case.step, parent_of(case), context(case.base, seed=seed))


@cache
def outcome_of(case: Case) -> Outcome | NotApplicableError:
    try:
        return applied(case)
    except NotApplicableError as error:
        return error


@pytest.fixture(
    params=[
        pytest.param(case, id=str(case), marks=slow(case.step.operation))
        for case in cases()
        if case.base not in NOTHING_TO_DO.get(case.step.operation, ())
    ]
)
def case(request: pytest.FixtureRequest) -> Case:
    made: Case = request.param
    if isinstance(outcome := outcome_of(made), NotApplicableError):
        pytest.skip(str(outcome))
    return made


@pytest.fixture
def outcome(case: Case) -> Outcome:
    made = outcome_of(case)
    assert isinstance(made, Outcome)
    return made


def test_it_reads_no_other_split_than_it_says(case: Case, outcome: Outcome) -> None:
    assert "evaluation" not in outcome.data_used
    assert set(outcome.data_used) <= set(operations[case.step.operation].reads), "name the splits in reads"


@pytest.mark.parametrize("kind", kinds())
def test_it_applies_or_says_why_not(kind: type[Operation]) -> None:
    refusals = {
        case: outcome
        for case in cases()
        if case.step.operation == kind.name and isinstance(outcome := outcome_of(case), NotApplicableError)
    }

    for refusal in refusals.values():
        assert str(refusal).startswith(f"{kind.name} does not apply to this model: ")
        assert len(str(refusal)) > 60, "say what is missing"
    found = {case.base for case in refusals}
    assert len(found) < len(MODELS), "it applies to no model at all"
    if kind.__module__.startswith("cc_ray."):
        assert found == NOTHING_TO_DO.get(kind.name, set())


@pytest.mark.parametrize("kind", kinds())
def test_what_it_does_not_apply_to_is_known_before_a_trial_starts(kind: type[Operation]) -> None:
    for case in (case for case in cases() if case.step.operation == kind.name):
        refused = isinstance(outcome_of(case), NotApplicableError)
        with pytest.raises(NotApplicableError) if refused else nullcontext():
            operation_of(case.step).suit(task_of(case.base).build(case.base))


@pytest.mark.parametrize("kind", kinds())
def test_it_is_documented(kind: type[Operation]) -> None:
    assert kind.summary().endswith((".", ";", ":")), "the file's first line says what it does"
    assert "http" in kind.source(), "the file names its source"
    assert kind.family in get_args(Family), f"family names one of {', '.join(get_args(Family))}"
    assert kind.realised_on <= {"cpu", "cuda"}
    assert kind.__doc__
    for name, field in kind.model_fields.items():
        assert field.description and field.description.endswith((".", ")")), f"{name} has no description"


@pytest.mark.parametrize("kind", kinds())
def test_its_examples_survive_json_and_are_canonical(kind: type[Operation]) -> None:
    assert kind.examples
    for example in kind.examples:
        step = validated_step(Step(kind.name, example))

        assert set(step.parameters) == set(kind.model_fields)
        assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step
        assert validated_step(step) == step


@pytest.mark.parametrize("kind", kinds())
def test_an_unknown_parameter_is_an_error(kind: type[Operation]) -> None:
    with pytest.raises(InvalidRecipeError, match=rf"{kind.name}: .*no parameter 'wrong'.*Known: "):
        validated_step(Step(kind.name, {**kind.examples[0], "wrong": 1}))


@pytest.mark.parametrize("given", PREPARED)
@pytest.mark.parametrize("kind", kinds())
def test_what_it_does_not_accept_is_refused(kind: type[Operation], given: Representation) -> None:
    if given in kind.accepts:
        return
    case = Case(Step(kind.name, kind.examples[0]), "cnn", given)

    with pytest.raises(InvalidRecipeError, match=f"{kind.name} works on .*, not {given}"):
        applied(case)


def test_the_parent_is_unchanged(case: Case) -> None:
    parent = prepared(case)
    before, training = tensors(parent), parent.training

    apply_step(case.step, parent, context(case.base))

    assert_equal(before, tensors(parent))
    assert parent.training == training


def test_outputs_keep_their_shape_and_are_finite(case: Case, outcome: Outcome) -> None:
    assert outputs(outcome.model, case.base).shape == outputs(parent_of(case)).shape
    assert outputs(outcome.model, case.base).isfinite().all()


def test_the_child_is_ready_to_be_measured(outcome: Outcome) -> None:
    assert not any(module.training for module in outcome.model.modules())
    assert all(parameter.grad is None for parameter in outcome.model.parameters())


def test_the_same_seed_gives_the_same_weights(case: Case, outcome: Outcome) -> None:
    torch.manual_seed(1234)
    state = torch.get_rng_state()

    again = applied(case)

    assert_equal(tensors(outcome.model), tensors(again.model))
    assert torch.equal(torch.get_rng_state(), state), "the global random state is left alone"


def test_the_architecture_stays_unless_it_says_otherwise(case: Case, outcome: Outcome) -> None:
    def built(model: nn.Module) -> tuple[dict[str, type], dict[str, torch.Size]]:
        kinds = {path: type(module) for path, module in model.named_modules()}
        return kinds, {name: tensor.shape for name, tensor in model.named_parameters()}

    if not operations[case.step.operation].reshapes:
        assert built(outcome.model) == built(parent_of(case)), "declare reshapes = True"


def test_it_makes_the_declared_representation(case: Case, outcome: Outcome) -> None:
    declared = operation_of(case.step).makes(case.given)

    assert outcome.representation == representation_of(outcome.model)
    assert outcome.representation == declared or case.step.operation == "restore"


def test_claims_are_kept_and_findings_are_readable(outcome: Outcome) -> None:
    for finding in outcome.findings:
        assert finding.severity != "error", finding.message
        assert finding.check not in {"sparsity_differs", "bit_width_differs", "nothing_changed", "not_finite"}
        assert finding.message.endswith(".") and len(finding.message) < 400


def test_claims_hold_in_the_saved_file(case: Case, outcome: Outcome, tmp_path: Path) -> None:
    if not {"sparsity", "bits"} & set(case.step.parameters):
        return
    saved = save_model(Draft(tmp_path), outcome.model)
    weights = read_weights(Draft(tmp_path), saved.digest)
    made = operation_of(case.step)
    targets = made.targets(parent_of(case)) if isinstance(made, Targeted) else layer_weights(outcome.model)
    layers = {target.name for target in targets}
    zeros = sum(int((weights[name].values == 0).sum()) for name in layers)
    size = sum(weights[name].values.size for name in layers)

    if "sparsity" in case.step.parameters:
        assert zeros / size == pytest.approx(case.step.parameters["sparsity"], abs=len(layers) / size)
    if "bits" in case.step.parameters:
        allowed = {f"uint{bits}" for bits in range(1, case.step.parameters["bits"] + 1)}
        assert {weights[name].dtype for name in layers} <= allowed


def test_saved_and_loaded_it_gives_the_same_outputs(case: Case, outcome: Outcome, tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), outcome.model)

    loaded = load_model(Draft(tmp_path), saved.digest, task_of(case.base).build(case.base))

    assert torch.equal(outputs(loaded, case.base), outputs(outcome.model, case.base))
    assert representation_of(loaded) == outcome.representation
    assert save_model(Draft(tmp_path), loaded) == saved


def test_an_installed_package_is_held_to_the_same(tmp_path: Path) -> None:
    info = tmp_path / "halving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cc_ray.operations]\nhalving = halving\n")
    (tmp_path / "halving.py").write_text(
        textwrap.dedent('''
            """Halve every targeted weight.

            Source: https://example.org/halving
            """

            from cc_ray.compress import operation
            from cc_ray.compress.targets import Targeted


            @operation("halving")
            class Halving(Targeted):
                """Multiplies by one half."""

                family = "pruning"

                def apply(self, model, context):
                    for target in self.targets(model, context):
                        target.tensor.data.mul_(0.5)
                    return model
        ''').lstrip()
    )
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-k", "halving", "-p", "no:cacheprovider"]
    path = os.pathsep.join([str(tmp_path), *sys.path])

    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)

    assert ran.returncode == 0, ran.stdout
    assert "halving" in ran.stdout or " passed" in ran.stdout
    assert int(ran.stdout.split(" passed")[0].split()[-1]) > 15


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        other = theirs[name]
        if is_quantized(tensor):
            tensor, other = tensor.dequantize(), other.dequantize()
        assert torch.equal(tensor, other), name
