r"""The data dictionary of data_dictionary.toml as comments, for \d+ in psql and for BI tools."""

import tomllib
from pathlib import Path

RELATIONS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
RELATIONS["listening"]["columns"] |= RELATIONS["songplays"]["columns"]


def comment_on(what, text):
    """Return the statement that says of a table, view or column what it holds."""
    return f"COMMENT ON {what} IS '{text.replace(chr(39), 2 * chr(39))}'"


comment_queries = [
    comment_on(f"{'VIEW' if name == 'listening' else 'TABLE'} {name}", relation["grain"])
    for name, relation in RELATIONS.items()
] + [
    comment_on(f"COLUMN {name}.{column}", text)
    for name, relation in RELATIONS.items()
    for column, text in relation["columns"].items()
]
