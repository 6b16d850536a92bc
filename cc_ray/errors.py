"""The errors of CC-Ray.

Each says what was wrong, the value, what is allowed and what to do. Each pickles, because errors travel between
machines. The command line prints one in a line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar, Self


class CcRayError(Exception):
    """Anything that CC-Ray refuses or fails to do; catch this to catch them all."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    @classmethod
    def _restore(cls, args: tuple[Any, ...], attributes: dict[str, Any]) -> Self:
        error = cls.__new__(cls, *args)
        error.args = args
        error.__dict__.update(attributes)
        return error


def _rebuild(kind: type[CcRayError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CcRayError:
    return kind._restore(args, attributes)


class InvalidRecipeError(CcRayError, ValueError):
    """A recipe or search space that cannot run; found before any trial starts."""


class UnknownNameError(InvalidRecipeError):
    """A name that nothing is registered under; the message names the nearest.

    Args:
        name: What was asked for.
        known: The names that exist.
    """

    kind: ClassVar[str] = "name"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        nearest = difflib.get_close_matches(name, self.known, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else "check the spelling."
        super().__init__(f"unknown {self.kind} '{name}': {hint} Known: {', '.join(self.known) or 'none'}.")


class UnknownOperationError(UnknownNameError):
    """An operation that is not registered."""

    kind = "operation"


class UnknownTaskError(UnknownNameError):
    """A task that is not registered."""

    kind = "task"


class UnknownSearchSpaceError(UnknownNameError):
    """A search space that is not installed."""

    kind = "search space"


class UnknownMetricError(UnknownNameError):
    """A metric that is not registered."""

    kind = "metric"


class UnknownAnswersError(UnknownNameError):
    """A kind of answers that is not registered."""

    kind = "kind of answers"


class NotApplicableError(CcRayError):
    """An operation that finds nothing in the model that it could work on.

    Args:
        operation: Name of the operation.
        reason: What is missing and what to do instead.
    """

    def __init__(self, operation: str, reason: str) -> None:
        self.operation = operation
        self.reason = reason
        super().__init__(f"{operation} does not apply to this model: {reason}")


class TrialFailedError(CcRayError):
    """One step of one trial failed; the search goes on with the others.

    Args:
        trial: Identity of the trial.
        step: What the step was, as a person reads it.
        cause: The reason, in one line.
    """

    def __init__(self, trial: str, step: str, cause: str) -> None:
        self.trial = trial
        self.step = step
        self.cause = cause
        super().__init__(f"trial {trial} failed at step '{step}': {cause}")


class StoppedEarlyError(CcRayError):
    """A step that early stopping ended; the search goes on with the others.

    Args:
        reason: Why, in one line.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class StoreError(CcRayError):
    """The store cannot be read or written."""


class StoreUnavailableError(StoreError):
    """The disk below a store refuses: it is away, full, or may not be written.

    No recipe is at fault: what needed the store is tried again by the next session.
    """


class SchemaMismatchError(StoreError):
    """Rows that do not fit their table's contract.

    Args:
        table: Name of the table.
        column: Name of the column.
        expected: What the contract says.
        found: What was given.
    """

    def __init__(self, table: str, column: str, expected: str, found: str) -> None:
        self.table = table
        self.column = column
        self.expected = expected
        self.found = found
        super().__init__(f"table '{table}', column '{column}': expected {expected}, found {found}.")


class ModelNotFoundError(CcRayError, LookupError):
    """No model of the store answers to the name given, or several do."""


class NotComparableError(CcRayError):
    """Models between which the question asked has no answer."""


class QueryError(CcRayError):
    """A SQL statement that cannot be answered."""


class LimitError(QueryError):
    """A query that needed more time or memory than it was given."""


class TooLargeError(LimitError):
    """A query whose answer is larger than allowed."""


class StoppedError(QueryError):
    """A query that somebody cancelled."""


class BusyError(QueryError):
    """Too much is at work already; ask again later.

    Args:
        message: What is full.
        retry_after_s: When it is worth asking again, in seconds.
    """

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ParameterError(CcRayError, ValueError):
    """A parameter of a question that cannot be understood."""
