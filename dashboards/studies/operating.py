"""The bar of what operators can do to the study that is shown, and the doing of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cc_ray.errors import CcRayError
from dashboards.components import Html, Message
from dashboards.operating import Job
from dashboards.session import OPERATING, Session
from dashboards.studies.controls import controls
from dashboards.studies.live import Live
from dashboards.studies.report import Report


class Controls:
    """The bar.

    Args:
        session: The session's choices and data.
        trials: Called where a trial is asked about no more.
    """

    def __init__(self, session: Session, trials: Callable[[], None]) -> None:
        self.session = session
        self.part = Html(on=self.do, css_classes=["padded"], visible=session.operator is not None)
        self._trials = trials
        self._study = ""
        self._found: Report | None = None
        self._job: tuple[str, Job | None] = "", None
        self._asked = ""
        self._said = ""

    def begins(self, study: str) -> bool:
        """Whether a study is known by its job alone."""
        return self._job[0] == study and self._job[1] is not None

    def take(self, study: str, found: Report | None) -> None:
        """Another study is shown, or newer rows of it."""
        name = found.id if found else study
        if name != self._study:
            self._study, self._asked, self._said = name, "", ""
        self._found = found
        self._draw()

    def hear(self, now: Live) -> None:
        """Learn of its job."""
        self._job = now.study, now.job
        self._draw()

    def do(self, message: Message) -> None:
        """Do what was clicked, if the user may."""
        operator, study, by = self.session.operator, self._study, self.session.user.name
        if operator is None or not study:
            return
        self._said = ""
        match message["do"]:
            case "run-ask":
                self._asked = message["what"]
            case "run-stop":
                self._asked = ""
                self._trials()
                self._apart(partial(operator.stop, study, by, message["trial"] or None))
            case "run-resume":
                self._apart(partial(operator.resume, study, by))
            case "run-retry":
                self._apart(partial(operator.resume, study, by, retry_failed=True))
            case "run-further":
                self._further()
        self._draw()

    def _further(self) -> None:
        known, found = self.session.snapshot.models, self._found
        ids = dict.fromkeys(row["model_id"] for row in found.best if row["model_id"] in known) if found else {}
        self.session.state.param.update(selection=list(ids), page="overview", side="compress")

    def _apart(self, work: Callable[[], None]) -> None:
        def done() -> str:
            try:
                work()
            except CcRayError as error:
                return str(error)
            return ""

        self.session.apart("studies-operate", done, self._tell, OPERATING)

    def _tell(self, said: str) -> None:
        self._said = said
        self._draw()

    def _draw(self) -> None:
        if self.session.operator is None:
            return
        row, requests = (self._found.study, self._found.requests) if self._found else (None, [])
        job = self._job[1] if self._job[0] == self._study else None
        known = self._found is not None or job is not None
        self.part.content = controls(self._study, row, requests, job, self._asked, self._said) if known else ""
