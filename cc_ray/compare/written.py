"""A question as it is written elsewhere: on the command line, as an address of the API, and in SQL.

The SQL of a question is the file of its name in `queries/`. It begins with a comment, which says whether its rows are
the answer's or those that the answer is computed from. `$name` stands for a parameter, as in DuckDB; `$name:name` for
a column of that name. A line whose parameters are not given is left out with all that is indented below it; so is one
that ends in `-- $name` or `-- $name=value|other`, which goes with what was given. Conditions begin with WHERE or, two
spaces in, with AND.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from cc_ray.compare.catalogue import Kind, Parameter, question

SAME: Final = "The same"
"""How the comment begins where the rows are the answer's."""
_NAME: Final = re.compile(r"\$(\w+)(:name)?")
_WHEN: Final = re.compile(r" *-- \$(\w+)(?:=([\w|]+))?$")
_SIGNS: Final = {"at_least": ">=", "at_most": "<="}
_PRESENTATION: Final = frozenset({"limit", "offset", "sort", "bins", "kind", "rising", "by", "among"})
"""What chooses or shows rows of an answer that SQL has all of, or that SQL says in a way of its own."""


@dataclass(frozen=True)
class Written:
    """A question of the catalogue with its parameters."""

    name: str
    given: Mapping[str, Sequence[str]]
    """Texts by parameter, as `Question.ask` takes them."""
    table: str = ""
    """Which table of an answer that has several; "" for the first."""

    @property
    def command(self) -> str:
        """What asks it on the command line."""
        pairs = [f"{name}={text}" for name, texts in self.given.items() for text in texts]
        table = ["--table", self.table] if self.table else []
        return shlex.join(["cc-ray", "ask", self.name, *pairs, *table])

    @property
    def address(self) -> str:
        """What asks it of the API, below `/api/v1/`."""
        pairs = [(name, text) for name, texts in self.given.items() for text in texts]
        query = urlencode([*pairs, *([("table", self.table)] if self.table else [])])
        return f"compare/{self.name}" + (f"?{query}" if query else "")

    @property
    def sql(self) -> str:
        """One statement over the tables and views of the store."""
        kept = "\n".join(_led(self._lines()))
        return _NAME.sub(lambda found: self._value(found[1], as_name=bool(found[2])), kept)

    @cached_property
    def same(self) -> bool:
        """Whether the rows of the SQL are the answer's, if perhaps not all columns."""
        return self.note.startswith(SAME) and not self.left_out

    @property
    def note(self) -> str:
        """What the rows of the SQL are."""
        return _template(self.name)[0]

    @property
    def left_out(self) -> list[str]:
        """Parameters that choose the answer's rows and are not in the SQL."""
        text = _template(self.name)[1]
        return [name for name in self.given if f"${name}" not in text and name not in _PRESENTATION]

    def _lines(self) -> Iterator[str]:
        dropped = None
        for line in _template(self.name)[1].splitlines():
            depth = len(line) - len(line.lstrip())
            if dropped is not None and (depth > dropped or line.strip() == ")"):
                continue
            dropped = None if self._goes(line) else depth
            if dropped is None:
                yield _WHEN.sub("", line)

    def _goes(self, line: str) -> bool:
        when = _WHEN.search(line)
        if when and when[2]:
            return bool(set(self._texts(when[1])) & set(when[2].split("|")))
        return all(self._texts(found[1]) for found in _NAME.finditer(line))

    def _texts(self, name: str) -> Sequence[str]:
        parameter = self._parameters[name]
        if name not in self.given and parameter.kind is Kind.choice:
            return [str(parameter.default)]
        return self.given.get(name, [])

    @cached_property
    def _parameters(self) -> Mapping[str, Parameter]:
        return {parameter.name: parameter for parameter in question(self.name).parameters}

    def _value(self, name: str, *, as_name: bool) -> str:
        texts, kind = self._texts(name), self._parameters[name].kind
        if as_name or kind is Kind.objectives:
            return ", ".join(_quoted(text.partition(":")[0], '"') for text in texts)
        if kind is Kind.bounds:
            pairs = (text.partition(":") for text in texts)
            return " AND ".join(f"{_quoted(metric, chr(34))} {_SIGNS[name]} {value}" for metric, _, value in pairs)
        if name == "where":
            return texts[0]
        if kind in (Kind.integer, Kind.number, Kind.flag):
            return texts[0]
        literals = [text if kind is Kind.integers else _quoted(text, "'") for text in texts]
        return f"({', '.join(literals)})" if self._parameters[name].several else literals[0]


def written(name: str, table: str = "", **given: Any) -> Written:
    """Write a question with parameters as its function takes them; those that are not given stay out.

    Args:
        name: Of the question.
        table: Which table of an answer that has several.
        given: Values by parameter: texts, numbers, sequences of them, mappings of numbers or intervals by name.

    Raises:
        ParameterError: If there is no such question.
    """
    question(name)
    texts = {parameter: _text(value) for parameter, value in given.items()}
    return Written(name, {parameter: held for parameter, held in texts.items() if held}, table)


def _text(value: Any) -> list[str]:
    if value is None or value is False or value == "":
        return []
    if isinstance(value, Mapping):
        return [f"{name}:{_end(held)}" for name, held in value.items()]
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ["true" if value is True else str(value)]
    return [str(each) for each in value]


def _end(value: Any) -> str:
    return "..".join(f"{end!r}" for end in value) if isinstance(value, tuple) else str(value)


def _led(lines: Iterator[str]) -> Iterator[str]:
    """The lines, the first condition after WHERE, whichever is the first that is left."""
    before = ""
    for line in lines:
        if line.startswith("  AND ") and not before.startswith(("WHERE ", "  AND ")):
            line = f"WHERE {line[6:]}"
        yield line
        before = line


def _quoted(text: str, sign: str) -> str:
    return f"{sign}{text.replace(sign, 2 * sign)}{sign}"


@cache
def _template(name: str) -> tuple[str, str]:
    """What the file of a question says in its first comment, and its SQL."""
    text = (files("cc_ray.compare") / "queries" / f"{name}.sql").read_text("utf-8")
    head, _, sql = text.partition("\n")
    return head.removeprefix("-- "), sql.strip()
