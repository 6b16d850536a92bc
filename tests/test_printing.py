import sys
import threading

import pytest

from cc_ray.printing import KEPT, heard, traced


def test_what_is_printed_is_heard_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with heard() as printed:
        print("made it")
        print("warned", file=sys.stderr)

    assert printed.text == "made it\nwarned\n"
    assert capsys.readouterr() == ("made it\n", "warned\n")


def test_only_the_end_is_kept_and_silence_is_nothing() -> None:
    with heard() as silent, heard() as loud:
        pass
    loud.add("x" * KEPT + "end")

    assert silent.text is None
    assert loud.text and len(loud.text) == KEPT and loud.text.endswith("end")


def test_other_threads_are_left_alone() -> None:
    found = []

    def hear() -> None:
        with heard() as printed:
            print("aside")
        found.append(printed.text)

    thread = threading.Thread(target=hear)
    thread.start()
    thread.join()

    assert found == [None]


def test_a_traceback_has_lines_of_code_and_no_values() -> None:
    token = "".join(["se", "cret"])

    def fails(value: str) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError) as caught:
        fails(token)

    told = traced(caught.value)
    assert "fails(token)" in told and "ValueError: no" in told and "secret" not in told
