"""What needs torch to be told: operations, and the plan of a branch. Runs as Ray tasks, apart from who serves."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import ray

from cc_ray.errors import CcRayError
from cc_ray.search.space import Choice, StepSpace
from cc_ray.store import Store
from dashboards.operating import WHOLE, Branch, Cost, Operation, Parameter, Place, Planned, Step, Stored

MOST_RECIPES: Final = 2_000
_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
_TYPES: Final = ("number", "integer", "boolean", "string", "array", "object")


def verb(branch: Branch, name: str) -> list[str]:
    """The arguments of `cc-ray` that run a branch."""
    # Imported here: it is light, but those who only describe operations need it not.
    from cc_ray.search.written import write_step

    steps = [f"--step={write_step(_open(step))}" for step in branch.steps]
    return ["branch", *branch.models, *steps, f"--name={name}", *(f"--seed={seed}" for seed in branch.seeds)]


def _describe() -> tuple[Operation, ...]:
    from cc_ray.compress import operations

    return tuple(Operation(name, kind.summary(), tuple(_parameters(kind))) for name, kind in operations.items())


def _parameters(kind: Any) -> Iterator[Parameter]:
    schema = kind.model_json_schema()
    required = schema.get("required", ())
    # What has to be said comes first, what is seldom said last.
    order = sorted(schema["properties"].items(), key=lambda item: (item[0] not in required, "items" in item[1]))
    for name, field in order:
        type = field.get("type", "string")
        yield Parameter(
            name,
            type if type in _TYPES else "string",
            " ".join(field.get("description", "").split()),
            name in required,
            field.get("default"),
            ", ".join(f"{said} {field[bound]:g}" for bound, said in _BOUNDS.items() if bound in field),
            tuple(map(str, field.get("enum", ()))),
            field.get("items", {}).get("type", "string"),
            field.get("stored", ""),
        )


def _plan(root: str, branch: Branch) -> Planned:
    problems = dict(_problems(branch.steps))
    count = _recipes(branch)
    if count > MOST_RECIPES:
        problems[WHOLE, ""] = (
            f"These are {count:,} recipes; at most {MOST_RECIPES:,} are allowed: leave out some values."
        )
    if problems:
        return Planned(problems)
    try:
        return _planned(Store.known(root), branch)
    except CcRayError as error:
        return Planned({(WHOLE, ""): str(error)})


def _recipes(branch: Branch) -> int:
    """How many recipes a branch has; one that has very many must not be written out."""
    values = (len(of) for step in branch.steps for of in step.values.values() if of)
    return len(branch.models) * max(1, len(branch.seeds)) * math.prod(values)


def _problems(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """What the operations themselves say of the values, each by itself."""
    from cc_ray.search.written import LONGEST, write_step

    for index, step in enumerate(steps):
        found = _unreadable(step) or _unfit(step)
        if not found and (length := len(write_step(_open(step)))) > LONGEST:
            found[""] = f"It takes {length:,} characters to say; allowed: at most {LONGEST:,}."
        yield from (((index, name), said) for name, said in found.items())


def _unreadable(step: Step) -> dict[str, str]:
    """What is wrong with values that are to be looked up, by parameter."""
    found = {}
    for name, values in step.values.items():
        try:
            for value in values:
                _value(value)
        except CcRayError as error:
            found[name] = str(error)
    return found


def _unfit(step: Step) -> dict[str, str]:
    """What the operation says of the values that are known, by parameter."""
    from cc_ray.compress import parameter_problems
    from cc_ray.recipe import Step as Told

    looked_up = {name for name, values in step.values.items() if any(isinstance(value, Stored) for value in values)}
    known = {name: values for name, values in step.values.items() if values and name not in looked_up}
    found: dict[str, str] = {}
    for turn in range(max(map(len, known.values()), default=1)):
        found |= parameter_problems(
            Told(step.operation, {name: of[min(turn, len(of) - 1)] for name, of in known.items()})
        )
    # What is to be looked up may be what the step lacks as a whole: the plan, which has it, tells.
    return {name: said for name, said in found.items() if name or not looked_up}


def _planned(store: Store, branch: Branch) -> Planned:
    from cc_ray.search.branched import branched
    from cc_ray.search.plan import plan

    steps = [_open(step) for step in branch.steps]
    space = branched(store, branch.models, steps, name=branch.name, seeds=branch.seeds)
    found = plan(space, store)
    return Planned(
        study=found.study_id,
        trials=found.trials_to_run,
        models=found.unique_steps,
        known=found.known,
        to_make=found.to_run,
        estimated_s=found.estimated_s,
        estimated_bytes=found.estimated_bytes,
        gpu_hours=found.gpu_hours,
        costs=tuple(
            Cost(entry.operation, entry.steps, entry.to_run, entry.step_s, entry.known) for entry in found.by_operation
        ),
        command=shlex.join(["cc-ray", *verb(branch, found.study_id)]),
    )


def _open(step: Step) -> StepSpace:
    given = {name: tuple(map(_value, of)) for name, of in step.values.items() if of}
    return StepSpace(step.operation, {name: of[0] if len(of) == 1 else Choice(of) for name, of in given.items()})


def _value(value: Any) -> Any:
    from cc_ray.search.written import read_stored

    return read_stored(value.call) if isinstance(value, Stored) else value


# A worker that has imported torch stays for a while, so that only the first answer takes long.
describe = ray.remote(num_cpus=0)(_describe)
plan_branch = ray.remote(num_cpus=0)(_plan)
