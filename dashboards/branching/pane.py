"""The tab in which operators compress the selected models further: the form, checked as one types, and its plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from cc_ray.errors import CcRayError
from dashboards import markup
from dashboards.branching.draft import Draft, read, turned
from dashboards.branching.form import form
from dashboards.branching.plan import plan
from dashboards.components import Message
from dashboards.markup import esc
from dashboards.operating import WHOLE, Branch, Operation, Operator, Planned
from dashboards.session import OPERATING, Session

NAMED: Final = 6
"""Models that are named above the form."""
READERS: Final = '<p class="empty">Only operators start studies. You look at this dashboard as a reader.</p>'


class Branching:
    """The draft of one tab.

    Args:
        session: The session's choices and data.
        show: Called with new content.
    """

    def __init__(self, session: Session, show: Callable[[str], None]) -> None:
        self.session = session
        self._show = show
        self._draft = Draft()
        self._operations: dict[str, Operation] = {}
        self._planned: Planned | None = None
        self._starting = False

    def ask(self) -> None:
        """Show the form for the models that are selected now, and have it planned."""
        operator = self.session.operator
        if operator is None:
            self._show(READERS)
        elif not self._operations:
            self._show('<p class="empty" role="status">Asking what can be done …</p>')
            self.session.apart("branch-operations", partial(_known, operator), self._learn, OPERATING)
        else:
            self._check(operator)

    def do(self, message: Message) -> None:
        """Take what was done in the form."""
        operator = self.session.operator
        if operator is None or not self._operations:
            return
        if message["do"] == "branch-start":
            self._start(operator)
        else:
            self._change(message)
            self._check(operator)

    def _change(self, message: Message) -> None:
        draft, index = self._draft, int(message.get("step", -1))
        match message["do"]:
            case "branch-add" if message["value"] in self._operations:
                draft.add(message["value"])
            case "branch-whole" if message["name"] in ("seeds", "name"):
                setattr(draft, message["name"], str(message["value"]))
            case _ if not 0 <= index < len(draft.steps):
                return
            case "branch-operation" if message["value"] in self._operations:
                draft.steps[index].operation = message["value"]
            case "branch-set":
                draft.steps[index].texts[message["name"]] = str(message["value"])
            case "branch-turn":
                self._turn(index, message["name"], message["value"])
            case "branch-earlier":
                draft.move(index)
            case "branch-drop":
                del draft.steps[index]

    def _turn(self, index: int, name: str, option: str) -> None:
        step = self._draft.steps[index]
        for parameter in self._operations[step.operation].parameters:
            if parameter.name == name:
                step.texts[name] = turned(parameter, step.texts.get(name, ""), option)

    def _learn(self, found: Sequence[Operation] | str) -> None:
        if isinstance(found, str):
            self._show(f'<p class="failure">{esc(found)}</p>')
            return
        self._operations = {operation.name: operation for operation in found}
        self.ask()

    def _branch(self) -> tuple[Branch, Planned | None]:
        models = [row["model_id"] for row in self.session.selected]
        branch, problems = read(self._draft, self._operations, models)
        return branch, Planned(problems) if problems else None

    def _check(self, operator: Operator) -> None:
        branch, self._planned = self._branch()
        self._starting = False
        self._draw()
        # Asked in each case: the answer to what was asked before must not come after this.
        work = partial(_plan, operator, branch, self._planned)
        self.session.apart("branch-plan", work, self._plan, OPERATING)

    def _plan(self, planned: Planned) -> None:
        self._planned = planned
        self._draw()

    def _start(self, operator: Operator) -> None:
        branch, problem = self._branch()
        if problem or self._planned is None or self._planned.problems or self._starting:
            return
        self._starting = True
        self._draw()
        work = partial(_start, operator, branch, self.session.user.name)
        self.session.apart("branch-start", work, self._started, OPERATING)

    def _started(self, came_to: tuple[str, str]) -> None:
        study, problem = came_to
        self._starting = False
        if problem:
            self._planned = Planned({(WHOLE, ""): problem})
            self._draw()
            return
        self._draft, self._planned = Draft(), None
        self.session.state.param.update(page="studies", study=study, trials="all", side="details")

    def _draw(self) -> None:
        problems = self._planned.problems if self._planned else {}
        self._show(
            f"{self._models()}{form(self._draft, self._operations, problems)}"
            f"{plan(self._planned, starting=self._starting)}"
        )

    def _models(self) -> str:
        rows = self.session.selected
        snapshot = self.session.snapshot
        names = "".join(f"<li>{markup.recipe(snapshot, row['model_id'])}</li>" for row in rows[:NAMED])
        more = f'<li class="soft">and {len(rows) - NAMED:,} more</li>' if len(rows) > NAMED else ""
        count = f"{len(rows):,} model{'s' * (len(rows) != 1)}" if rows else "nothing selected"
        return f'<h2>Compress further <small>{count}</small></h2><ul class="branch-models">{names}{more}</ul>'


def _known(operator: Operator) -> Sequence[Operation] | str:
    try:
        return operator.operations()
    except CcRayError as error:
        return str(error)


def _plan(operator: Operator, branch: Branch, known: Planned | None) -> Planned:
    return known or operator.plan(branch)


def _start(operator: Operator, branch: Branch, by: str) -> tuple[str, str]:
    """The study that was started, or why none was."""
    try:
        return operator.start(branch, by), ""
    except CcRayError as error:
        return "", str(error)
