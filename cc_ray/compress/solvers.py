"""Choose a level for each layer: of least harm in all, at a cost in all that a limit bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""A number for each layer and level, (layers, levels)."""


def exact(harm: Table, cost: Table, limit: float) -> list[int]:
    """The choice of least harm: one level for each layer, as an integer program.

    Args:
        harm: Of each level.
        cost: Of each level, in the unit of the limit; some choice keeps to it.
        limit: What the costs of the chosen levels add up to at most.

    Returns:
        The place of the chosen level, by layer.
    """
    # Imported here: it takes a while, and most who import operations need it not.
    from scipy.optimize import Bounds, LinearConstraint, milp

    layers, levels = harm.shape
    one_each = np.kron(np.eye(layers), np.ones(levels))
    # Costs of millions of weights and harms of thousandths: both are brought to the size of one.
    scale = np.abs(cost).max() or 1.0
    solved = milp(
        harm.ravel() / (np.abs(harm).max() or 1.0),
        integrality=np.ones(harm.size, dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(cost.ravel() / scale, ub=limit / scale)],
        options={"mip_rel_gap": 0.0},
    )
    if solved.x is None:
        return greedy(harm, cost, limit)
    return [int(column) for column in solved.x.reshape(harm.shape).argmax(axis=1)]


def greedy(harm: Table, cost: Table, limit: float) -> list[int]:
    """From the choice of least harm on, take again and again the change of least further harm for what it saves.

    Takes and returns what `exact` does.
    """
    rows = range(len(harm))
    chosen = [int(column) for column in harm.argmin(axis=1)]
    while sum(cost[row, chosen[row]] for row in rows) > limit:
        changes = [
            ((harm[row, column] - harm[row, chosen[row]]) / saved, row, column)
            for row in rows
            for column in range(harm.shape[1])
            if (saved := cost[row, chosen[row]] - cost[row, column]) > 0
        ]
        _, row, column = min(changes)
        chosen[row] = column
    return chosen
