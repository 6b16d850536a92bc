"""Reads texts into rows: JSON, JSON lines, and text files, each of which is one row.

    JSON            a list of objects, or questions as SQuAD has them: columns `context`, `question`, `answers`, ...
    JSON lines      an object a line
    text            columns `text` and `file`

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (format of version 1.1; of
version 2.0 questions that have no answer are left out).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json


def json_table(path: Path) -> pa.Table:
    """Rows of a JSON file.

    Raises:
        ValueError: If it holds something else.
    """
    held = json.loads(path.read_text("utf-8"))
    if isinstance(held, dict) and isinstance(held.get("data"), list):
        held = list(_questions(held["data"])) if all("paragraphs" in item for item in held["data"]) else held["data"]
    if not isinstance(held, list) or not held or not all(isinstance(row, dict) for row in held):
        raise ValueError(f"{path.name} is neither a list of objects nor questions as SQuAD has them")
    return pa.Table.from_pylist(held)


def json_lines_table(path: Path) -> pa.Table:
    """Rows of a file of JSON lines."""
    return pyarrow.json.read_json(path)


def text_table(path: Path) -> pa.Table:
    """The one row of a text file."""
    return pa.table({"text": [path.read_text("utf-8")], "file": [path.name]})


def _questions(articles: list[Any]) -> Iterator[dict[str, Any]]:
    for article in articles:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                if asked["answers"]:
                    yield {
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": {
                            "text": [answer["text"] for answer in asked["answers"]],
                            "answer_start": [answer["answer_start"] for answer in asked["answers"]],
                        },
                    }
