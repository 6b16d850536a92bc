import inspect
import pickle

import pytest

from cc_ray import errors

EXAMPLES = [
    errors.CcRayError("wrong"),
    errors.InvalidRecipeError("wrong"),
    errors.UnknownNameError("accurcy", ["accuracy", "loss"]),
    errors.UnknownOperationError("magnitude_prunning", ["magnitude_pruning"]),
    errors.UnknownTaskError("digit", ["digits"]),
    errors.UnknownSearchSpaceError("digit", ["digits"]),
    errors.NotApplicableError("calibrate", "it has no batch norm."),
    errors.UnknownMetricError("acuracy", ["accuracy"]),
    errors.UnknownAnswersError("clases", ["classes"]),
    errors.TrialFailedError("t1", "fine_tune(epochs=1)", "loss is NaN"),
    errors.StoppedEarlyError("accuracy 0.1 is worse than the median"),
    errors.StoreError("wrong"),
    errors.StoreUnavailableError("no space left"),
    errors.SchemaMismatchError("models", "seed", "int64", "string"),
    errors.ModelNotFoundError("wrong"),
    errors.NotComparableError("wrong"),
    errors.QueryError("wrong"),
    errors.LimitError("wrong"),
    errors.TooLargeError("wrong"),
    errors.StoppedError("wrong"),
    errors.BusyError("wrong", 5),
    errors.ParameterError("wrong"),
]


def test_every_error_class_has_an_example_here() -> None:
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.CcRayError)}

    assert {type(error) for error in EXAMPLES} == defined


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_trip_between_machines(error: errors.CcRayError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    error = errors.UnknownOperationError("magnitude_prunning", ["restore", "magnitude_pruning"])

    assert "did you mean 'magnitude_pruning'?" in str(error)


def test_a_failed_trial_keeps_what_failed_and_why() -> None:
    error = errors.TrialFailedError("t1", "fine_tune(epochs=1)", "loss is NaN")

    assert (error.trial, error.step, error.cause) == ("t1", "fine_tune(epochs=1)", "loss is NaN")
