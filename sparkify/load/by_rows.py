"""Load row by row: the statements of sql_queries, and what they take care of before and after."""

import itertools
import re
from collections.abc import Iterable
from datetime import datetime

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_batch

from sparkify.postgres.transactions import ON_PRIMARY, fetch_value
from sparkify.read.files import Outcome, stored_uri
from sql_queries import (
    LOADED_FILES,
    PLAYS,
    STAR_SCHEMA,
    delete_outranked_songplays,
    loaded_file_insert,
    loaded_files_select,
    rejected_line_insert,
    song_select,
)

PAGE_ROWS = 1000  # that are sent to the server together
FEW_ROWS = 10  # that are not worth a prepared statement
statement_numbers = itertools.count(1)

counts = ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in STAR_SCHEMA)
row_counts_select = f"SELECT {counts}"

# Whether any stored play can have the natural key of one that began in this span of time.
songplay_range_select = "SELECT EXISTS (SELECT FROM songplays WHERE start_time BETWEEN %s AND %s)"

songplay_outranked_delete = delete_outranked_songplays(
    f"unnest({', '.join(f'%s::{type}[]' for type in PLAYS.columns.values())})"
    f" AS logged ({PLAYS.names()})"
)

rejects_exist_select = "SELECT EXISTS (SELECT FROM rejected_lines)"
# Of lines that an earlier load met, those that this one, of these files, has not met again.
stale_rejects_delete = "DELETE FROM rejected_lines WHERE uri = ANY(%s) AND met < now()"
open_rejects_select = """
SELECT uri, count(*), min(line) AS line, (array_agg(reason ORDER BY line))[1] AS reason
FROM rejected_lines
WHERE uri = ANY(%s) AND NOT corrected
GROUP BY uri
"""


def insert_rows(cur: Cursor, statement: str, rows: list[tuple]) -> None:
    """Execute an INSERT for each row; if there are many, Postgres plans it once for all of them."""
    if len(rows) < FEW_ROWS:
        execute_batch(cur, statement, rows, PAGE_ROWS)
        return
    name = f"statement_{next(statement_numbers)}"
    numbers = itertools.count(1)
    # psycopg2 has no prepared statements: PREPARE takes $1, $2 ... in place of each %s.
    cur.execute(f"PREPARE {name} AS {re.sub('%s', lambda _: f'${next(numbers)}', statement)}")
    values = ", ".join(["%s"] * len(rows[0]))
    execute_batch(cur, f"EXECUTE {name} ({values})", rows, PAGE_ROWS)
    cur.execute(f"DEALLOCATE {name}")


def delete_outranked_plays(cur: Cursor, plays: list) -> None:
    """Delete stored plays with the natural key of one of these that is to replace them."""
    start_times = [play.start_time for play in plays]
    if plays and fetch_value(cur, songplay_range_select, (min(start_times), max(start_times))):
        cur.execute(songplay_outranked_delete, columns_of(plays))


def add_song_ids(cur: Cursor, plays: list) -> list[tuple]:
    """Return rows of plays with song_id and artist_id at their ends, NULL where no song fits."""
    songs = fetch_songs(cur, [(play.title, play.artist, play.duration) for play in plays])
    unknown = (None, None)
    return [
        (*play, *songs.get((play.title, play.artist, play.duration), unknown)) for play in plays
    ]


def fetch_songs(cur, logged):
    """Return (song_id, artist_id) by (title, artist, duration) as logged, where a song fits."""
    cur.execute(song_select, columns_of(logged) or [[], [], []])
    return {(title, artist, duration): ids for title, artist, duration, *ids in cur}


def columns_of(rows: Iterable[tuple]) -> list[list]:
    """Return rows as a list of columns: arrays to Postgres."""
    return [list(column) for column in zip(*rows, strict=True)]


def count_table_rows(cur: Cursor) -> dict[str, int]:
    """Return the number of rows by table."""
    cur.execute(f"{row_counts_select} {ON_PRIMARY}")
    return dict(zip(STAR_SCHEMA, next(cur), strict=True))


# Files


def fetch_loaded_files(cur: Cursor) -> dict[str, tuple[int, datetime]]:
    """Return (bytes, modification time) of the files that are loaded, by URI."""
    cur.execute(loaded_files_select)
    return {uri: (size, modified) for uri, size, modified in cur}


def record_file(cur: Cursor, outcome: Outcome) -> None:
    """Note a file as loaded, so that the next run passes over it, and its lines that can't be."""
    keep_rejects(cur, outcome)
    forget_stale_rejects(cur, [outcome])
    count_open_rejects(cur, [outcome])
    facts = outcome.describe()
    cur.execute(loaded_file_insert, [facts[name] for name in LOADED_FILES.columns])


def keep_rejects(cur: Cursor, outcome: Outcome) -> None:
    """Set a file's bad lines aside; of them, its Outcome keeps no more than their number."""
    if not outcome.rejects:
        return
    rejects = outcome.hand_over_rejects()
    execute_batch(cur, rejected_line_insert, map(describe_reject, rejects), PAGE_ROWS)


def forget_stale_rejects(cur: Cursor, outcomes: list[Outcome]) -> None:
    """Forget what earlier loads of these files had set aside, and this one has not."""
    if fetch_value(cur, rejects_exist_select):
        cur.execute(stale_rejects_delete, ([outcome.stored_uri() for outcome in outcomes],))


def count_open_rejects(cur: Cursor, outcomes: list[Outcome]) -> None:
    """Take lines that --retry has loaded in another form out of the Outcomes' counts."""
    met = {outcome.stored_uri(): outcome for outcome in outcomes if outcome.set_aside}
    for outcome in met.values():
        outcome.set_aside = 0
    if met:
        cur.execute(open_rejects_select, (list(met),))
        for uri, number, line, reason in cur:
            met[uri].set_aside, met[uri].first_reject = number, (line, reason)


def describe_reject(reject):
    reason = reject.reason.encode(errors="backslashreplace").decode().replace("\0", "\\0")
    text = reject.text.encode(errors="surrogateescape")
    return stored_uri(reject.file), reject.line, reason, text
