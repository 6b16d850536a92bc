import itertools

from hypothesis import given
from hypothesis import strategies as st

from dashboards.map_layout import Node, layout

OPERATIONS = ("prune", "quantize", "tune")


@st.composite
def lineages(draw: st.DrawFn) -> list[Node]:
    """A base model and up to forty children, each of any earlier model."""
    nodes = [Node("0", None, None)]
    for index in range(1, draw(st.integers(1, 41))):
        parent = draw(st.sampled_from(nodes))
        nodes.append(Node(str(index), parent.id, draw(st.sampled_from(OPERATIONS)), {"level": draw(st.integers(0, 3))}))
    return nodes


@given(lineages())
def test_columns_hold_one_operation_and_grow_along_every_recipe(nodes: list[Node]) -> None:
    places = layout(nodes)

    for node in nodes:
        assert places.headers[places.columns[node.id]] == node.operation
        if node.parent is not None:
            assert places.columns[node.parent] < places.columns[node.id]
    assert set(places.columns.values()) == set(range(len(places.headers)))


@given(lineages(), st.sampled_from(["operation", "step"]))
def test_no_two_models_share_a_place_and_every_leaf_has_its_row(nodes: list[Node], arrange: str) -> None:
    places = layout(nodes, arrange)  # type: ignore[arg-type]

    assert len({(places.columns[node.id], places.rows[node.id]) for node in nodes}) == len(nodes)
    leaves = {node.id for node in nodes} - {node.parent for node in nodes}
    assert sorted(places.rows[leaf] for leaf in leaves) == list(range(places.num_rows))


@given(lineages())
def test_by_step_a_column_is_the_number_of_steps(nodes: list[Node]) -> None:
    places = layout(nodes, "step")

    for node in nodes:
        assert places.columns[node.id] == (places.columns[node.parent] + 1 if node.parent else 0)


def test_recipes_that_share_operations_share_columns() -> None:
    nodes = [
        Node("base", None, None),
        Node("a", "base", "prune"),
        Node("b", "a", "tune"),
        Node("c", "b", "quantize"),
        Node("d", "base", "tune"),
        Node("e", "d", "quantize"),
    ]

    places = layout(nodes)

    assert places.headers == [None, "prune", "tune", "quantize"]
    assert places.columns["d"] == places.columns["b"]


def test_siblings_stand_in_the_order_of_their_parameters() -> None:
    levels = [0.5, 0.1, 0.9]
    nodes = [Node("base", None, None)] + [Node(str(level), "base", "prune", {"level": level}) for level in levels]

    rows = layout(nodes).rows

    assert [rows[str(level)] for level in sorted(levels)] == [0, 1, 2]


def test_a_lost_parent_and_a_cycle_give_roots() -> None:
    nodes = [Node("orphan", "gone", "prune"), Node("a", "b", "prune"), Node("b", "a", "tune")]

    places = layout(nodes)

    assert set(places.columns) == {"orphan", "a", "b"}
    assert places.columns["orphan"] == 0


def test_a_long_chain_does_not_recurse() -> None:
    nodes = [Node("0", None, None)]
    nodes += [Node(str(index), str(index - 1), operation) for index, operation in enumerate(["tune"] * 3000, 1)]

    assert layout(nodes, "step").columns["3000"] == 3000


def test_nothing_has_a_layout() -> None:
    assert layout([]).num_rows == 0
    assert list(itertools.chain(layout([]).columns)) == []
