"""The parts of the page of SQL: the editor, who answers, and how answers are shown."""
