"""What the page of studies shows of jobs, logs and the cluster, without a browser."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cc_ray.errors import CcRayError
from dashboards.operating import Cluster, Job, Node, Running, Waiting
from dashboards.studies.cluster_view import cluster
from dashboards.studies.controls import STUDY, beginning, controls
from dashboards.studies.live import Live, live
from dashboards.studies.log_view import SHOWN, log

AT = datetime(2026, 11, 26, 15, 2, 7, tzinfo=UTC)
JOB = Job("j-1", "running", AT)


def row(state: str, **counts: int) -> dict[str, Any]:
    return {"state": state, "pending": 0, "stopped": 0, "failed": 0, "models": 0, **counts}


def test_a_study_under_way_can_be_stopped_once_one_is_sure() -> None:
    first = controls("s", row("running"), [], None, "", "")
    sure = controls("s", row("running"), [], None, STUDY, "")

    assert 'data-do="run-ask"' in first and "run-stop" not in first.replace('data-key="run-stop"', "")
    assert 'data-do="run-stop"' in sure and "What is made stays" in sure
    assert 'data-do="run-ask"' in controls("s", None, [], JOB, "", "")


def test_one_that_ended_can_be_gone_on_with_as_far_as_something_is_left() -> None:
    def offered(**counts: int) -> list[str]:
        said = controls("s", row("finished", **counts), [], None, "", "")
        return [name for name in ("resume", "retry", "further") if f'data-do="run-{name}"' in said]

    assert offered() == []
    assert offered(failed=1, models=2) == ["retry", "further"]
    assert "run-resume" in controls("s", row("stopped"), [], None, "", "")


def test_who_asked_to_stop_what_is_told_and_escaped() -> None:
    asked: list[dict[str, Any]] = [{"by": "<Ann>", "trial_id": None, "at": AT}, {"by": "", "trial_id": "t", "at": AT}]

    said = controls("s", row("running"), asked, None, "", "<wrong>")

    assert "&lt;Ann&gt; asked to stop it, 15:02:07 UTC" in said and "An operator asked to stop a trial" in said
    assert "<wrong>" not in said


def test_a_study_that_only_begins_says_so_or_why_it_did_not() -> None:
    assert "starting" in beginning("s", JOB)
    assert "before it began: killed" in beginning("s", Job("j", "failed", AT, "killed"))


def test_the_end_of_a_log_is_shown_its_errors_marked_and_searched() -> None:
    text = "".join(f"line {number}\n" for number in range(SHOWN + 20)) + "\x1b[31merror:\x1b[0m <no>\n\n"

    said = log(text, "")

    assert "21 lines before these" in said and "line 20\n" not in said and "line 21\n" in said
    assert '<span class="wrong">error: &lt;no&gt;\n</span>' in said
    assert "wrong" not in log("5 done, 0 failed, 1 running", "") and "wrong" in log("5 done, 12 failed", "")
    assert log(text, "LINE 51").count("<span>") == 1 + 10
    assert "No line holds “&lt;x&gt;”" in log(text, "<x>")
    assert "Nothing has been written" in log("", "")


def test_a_cluster_shows_what_is_held_waits_and_runs() -> None:
    node = Node("10.0.0.1", "active", {"CPU": 1.0, "memory": 1e9}, {"CPU": 2.0, "memory": 4e9, "<x>": 1.0})
    found = Cluster((node,), (Waiting("1 GPU", 3),), (Running("latency", "<step>", "host", 65),))

    said = cluster(found)

    for text in ("1 node ", "1 of 2", "1.00 GB of 4.00 GB", "3 for 1 GPU", "timing of &lt;step&gt;", "1 min 05 s"):
        assert text in said
    assert "width:50%" in said and "<x>" not in said
    assert "No study of this store runs on this Ray" in cluster(Cluster((node,)))
    assert "away" in cluster(Cluster(problem="away")) and "Asking" in cluster(None)


class Runs:
    def job(self, study: str) -> Job | None:
        return JOB

    def log(self, study: str) -> str:
        if study == "lost":
            raise CcRayError("gone")
        return "said"

    def cluster(self) -> Cluster:
        return Cluster()


@pytest.mark.parametrize(
    ("study", "view", "found"),
    [
        ("s", "trials", Live("s", JOB)),
        ("s", "log", Live("s", JOB, "said")),
        ("lost", "log", Live("lost", JOB, problem="gone")),
        ("", "log", Live()),
        ("", "cluster", Live(cluster=Cluster())),
    ],
)
def test_only_what_is_shown_is_asked(study: str, view: str, found: Live) -> None:
    assert live(Runs(), study, view) == found
