import pytest

from cc_ray.errors import InvalidRecipeError, UnknownOperationError
from cc_ray.search import choice, step
from cc_ray.search.space import StepSpace
from cc_ray.search.written import LONGEST, read_step, write_step


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("calibrate", step("calibrate")),
        ("calibrate()", step("calibrate")),
        (" magnitude_pruning(sparsity=[0.3, 0.5]) ", step("magnitude_pruning", sparsity=choice(0.3, 0.5))),
        ("magnitude_pruning(sparsity=[0.3])", step("magnitude_pruning", sparsity=0.3)),
        ("restore(include=['stem', 'a'])", step("restore", include=["stem", "a"])),
        ("restore(include=[['stem'], ['a']])", step("restore", include=choice(["stem"], ["a"]))),
        ("uniform_quantization(bits=4, symmetric=False)", step("uniform_quantization", bits=4, symmetric=False)),
    ],
)
def test_a_step_is_read_and_written_again(text: str, meant: StepSpace) -> None:
    assert read_step(text) == meant
    assert read_step(write_step(meant)) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "calibrate(",
        "calibrate(64)",
        "calibrate(**{'batch_size': 3})",
        "calibrate(batch_size=__import__('os').getpid())",
        "a.calibrate()",
        "(lambda: 0)()",
        "calibrate(batch_size=" + "(" * 400 + ")" * 400 + ")",
        "calibrate" * LONGEST,
    ],
)
def test_what_is_no_step_is_refused_and_nothing_is_evaluated(text: str) -> None:
    with pytest.raises(InvalidRecipeError, match=r"step: .*allowed"):
        read_step(text)


def test_an_operation_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnknownOperationError, match="did you mean 'calibrate'"):
        read_step("calibrates()")
