"""Checks of steps and recipes before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cc_ray.compress.base import Operation, Representation, operations
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step, canonical_json


def operation_of(step: Step) -> Operation:
    """Make the operation that a step asks for.

    Raises:
        UnknownOperationError: If nobody registered it.
        InvalidRecipeError: If a parameter is unknown, missing or out of range; names all such.
    """
    kind = operations[step.operation]
    try:
        return _made(kind, step)
    except ValidationError as error:
        said = [_explain(kind, detail) for detail in error.errors()]
        raise InvalidRecipeError(f"{step.operation}: {'; '.join(said)}.") from None
    except (TypeError, ValueError) as error:
        raise InvalidRecipeError(f"{step.operation}: parameters must be plain JSON data: {error}.") from error


def parameter_problems(step: Step) -> dict[str, str]:
    """What is wrong with the parameters of a step, by parameter; empty if it can be made.

    Args:
        step: Its parameters are plain JSON data.

    Raises:
        UnknownOperationError: If nobody registered the operation.
    """
    kind = operations[step.operation]
    try:
        _made(kind, step)
    except ValidationError as error:
        return {str(detail["loc"][0]) if detail["loc"] else "": _briefly(detail) for detail in error.errors()}
    return {}


def validated_step(step: Step) -> Step:
    """The same step in its canonical form: every parameter, plain JSON values, the operation's version.

    Raises:
        UnknownOperationError: If nobody registered the operation.
        InvalidRecipeError: If a parameter is unknown, missing or out of range.
    """
    made = operation_of(step)
    return Step(step.operation, made.model_dump(mode="json"), made.version)


def validated_recipe(recipe: Recipe, bases: Collection[str]) -> Recipe:
    """The same recipe with canonical steps, known to be able to run.

    Args:
        recipe: The recipe.
        bases: Names of the task's base models.

    Raises:
        UnknownOperationError: If nobody registered an operation.
        InvalidRecipeError: If the base is unknown, a parameter does not fit, a step cannot work on what the step before
            it makes, or a step asks for a model that does not come before its own parent.
    """
    if recipe.base not in bases:
        raise InvalidRecipeError(f"unknown base model '{recipe.base}'{_nearest(recipe.base, bases)}.")
    representation: Representation = "float"
    for index, step in enumerate(recipe.steps):
        made = operation_of(step)
        place = f"step {index + 1} of '{recipe}'"
        if representation not in made.accepts:
            raise InvalidRecipeError(f"{place}: {refusal(made, representation)}")
        for ancestor in made.ancestors():
            if ancestor >= index:
                raise InvalidRecipeError(
                    f"{place}: {made.name} asks for the model after step {ancestor}, but "
                    + (f"from_step must be 0 to {index - 1}." if index else "nothing was changed before it.")
                )
        representation = made.makes(representation)
    return Recipe(recipe.base, tuple(validated_step(step) for step in recipe.steps), recipe.seed)


def refusal(made: Operation, representation: Representation) -> str:
    """Why an operation cannot work on a model, and what to do."""
    if representation == "exported":
        return f"{made.name} cannot change an exported program; place it before the export, which is the last step."
    return (
        f"{made.name} works on models whose weights are {' or '.join(sorted(made.accepts))}, not {representation}; "
        "place it before the quantization."
    )


def _made(kind: type[Operation], step: Step) -> Operation:
    return kind.model_validate_json(canonical_json(dict(step.parameters)), strict=True)


def _briefly(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is needed"
    if detail["type"] == "extra_forbidden":
        return "is no parameter of it"
    if not detail["loc"]:
        return detail["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{detail['input']!r}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _explain(kind: type[Operation], detail: ErrorDetails) -> str:
    if not detail["loc"]:
        return _briefly(detail)
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"there is no parameter '{name}'{_nearest(name, kind.model_fields)}"
    meaning = " ".join((kind.model_fields[name].description or "").split()) if name in kind.model_fields else ""
    if detail["type"] == "missing":
        return f"parameter '{name}' is missing ({meaning})"
    return f"{name}={detail['input']!r}: {detail['msg'].lower()} ({meaning})"


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return f"{hint} Known: {', '.join(sorted(known)) or 'none'}"
