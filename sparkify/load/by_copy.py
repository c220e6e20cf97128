"""Load by COPY: all files in one transaction, by the conflict rules of sql_queries."""

import io
import itertools
import time
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extensions import TransactionRollbackError
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sparkify.errors import LoadError
from sparkify.load import staging
from sparkify.load.by_rows import (
    count_open_rejects,
    count_table_rows,
    forget_stale_rejects,
    keep_rejects,
)
from sparkify.load.constraints import drop_constraints, restore_constraints
from sparkify.load.matching import rematched_plays
from sparkify.messages import hint_of, one_line
from sparkify.postgres.locks import load_lock_select, wait_for_turn
from sparkify.postgres.transactions import (
    fetch_value,
    savepoint_rollback,
    savepoint_set,
    transaction,
)
from sparkify.read.copy_format import (
    CATALOGUE_SCHEMA,
    STAGING,
    TABLE,
    complete_rows,
    encode_column,
    encode_rows,
    encode_stream,
    join_fields,
    make_catalogue,
)
from sparkify.read.files import File, UnreadableFile
from sql_queries import LOADED_FILES

if TYPE_CHECKING:
    from sparkify.run.progress import Progress
    from sparkify.run.summary import Run

COPY_BYTES = 1 << 20  # that are handed to libpq together
SONGS = 20_000  # of the catalogue that are fetched together
COUNTING = "counting rows"
# The share of a run's time that is over, roughly, when a phase begins.
PLANS = {
    TABLE: {"storing users": 0.49, "building keys": 0.5, COUNTING: 0.97},
    STAGING: {
        "storing users": 0.35,
        "comparing plays": 0.4,
        "storing new plays": 0.4,
        "storing plays": 0.75,
        "storing page views": 0.92,
        COUNTING: 0.97,
    },
}


def load_copy(cur: Cursor, conn: Connection, files: list[File], run: "Run") -> dict[str, int]:
    """Load Files, whose Blocks the run's `read` yields, commit and return row counts.

    A large file that turns out to be unreadable when a part of it is in the tables has all be
    taken back and loaded anew, without it. Raises LoadError.
    """
    while True:
        try:
            return copy_files(cur, conn, files, run)
        except UnreadableFile as error:
            files = [file for file in files if file.uri != error.args[0].filename]
            run.progress.start_over()


def copy_files(cur: Cursor, conn: Connection, files: list[File], run: "Run") -> dict[str, int]:
    """Load Files in a transaction and return row counts. Raises LoadError, UnreadableFile.

    Rows are counted before the commit: the first to read a row after it marks that row, on disk, as
    committed (its hint bits: https://wiki.postgresql.org/wiki/Hint_Bits), unless it was frozen.
    """
    try:
        with transaction(conn):
            loader = CopyLoader(cur, run.progress)
            outcomes = [
                outcome
                for blocks in read_in_turn(loader, files, run.read)
                for outcome in copy_blocks(loader, blocks, run)
            ]
            started = time.monotonic()
            loader.finish()
            share = (time.monotonic() - started) / max(1, len(outcomes))
            for outcome in outcomes:
                outcome.seconds += share
            forget_stale_rejects(cur, outcomes)
            count_open_rejects(cur, outcomes)
            loader.record_files(outcomes)
            run.progress.phase(COUNTING)
            counts = count_table_rows(cur)
    except psycopg2.Error as error:
        raise LoadError(f"{one_line(error)}; nothing was loaded{remedy_for(error)}") from error
    for outcome in outcomes:
        run.count_loaded(outcome)
    return counts


def remedy_for(error):
    """Return what helps where Postgres has refused a COPY, for people, or nothing."""
    if isinstance(error, psycopg2.errors.RaiseException):  # of a trigger, on rows or on tables
        return "; --load rows creates no tables, and names the file that it stops at"
    if isinstance(error, (psycopg2.IntegrityError, psycopg2.DataError)):
        return "; --load rows stops at the file that causes it"
    return "; run it again" if isinstance(error, TransactionRollbackError) else hint_of(error)


def read_in_turn(loader, files, read):
    """Yield the Blocks of several small Files, or of a large one, songs before logs.

    When the first log is read, the songs are all in their table: that is the catalogue.
    """
    for kind, files_of_kind in itertools.groupby(files, key=attrgetter("kind")):
        catalogue = fetch_catalogue(loader.cur) if kind == "log" else None
        blocks = loader.progress.watch(read(list(files_of_kind), loader.target, catalogue))
        for _, blocks_of_file in itertools.groupby(blocks, lambda block: block.outcomes[0].name()):
            yield blocks_of_file


def copy_blocks(loader, blocks, run):
    """Load the Block of several files, or the Blocks of one file, but for what can't be read.

    Returns the Outcomes of the files that were loaded.
    """
    started = time.monotonic()
    outcomes = {}
    for block in blocks:
        if not is_readable(block, run):
            break  # there is no use in the file's other parts
        for tables in block.rounds:
            if block.outcomes[0].file.kind == "song":
                loader.load_songs(*tables)
            else:
                loader.load_log(*tables)
        for outcome in block.outcomes:
            keep_rejects(loader.cur, outcome)
            if run.strict:
                count_open_rejects(loader.cur, [outcome])
                run.refuse_rejects(outcome)
        add_outcomes(outcomes, block)
    for outcome in outcomes.values():
        outcome.seconds = (time.monotonic() - started) / len(outcomes)
    return list(outcomes.values())


def is_readable(block, run):
    """Report the files of a Block that could not be read, and tell whether there are others.

    Raises UnreadableFile where a part of one of them is in the tables.
    """
    errors = [outcome.error for outcome in block.outcomes if outcome.error]
    for error in errors:
        run.leave_out(block.outcomes[0].file.kind, error)
    if errors and block.outcomes[0].file.start:
        raise UnreadableFile(errors[0])
    return len(errors) < len(block.outcomes)


def add_outcomes(outcomes, block):
    """Add the Outcomes of a Block's files, but for those that could not be read, by their names."""
    for outcome in block.outcomes:
        if outcome.name() in outcomes:
            outcomes[outcome.name()].add(outcome)
        elif not outcome.error:
            outcomes[outcome.name()] = outcome


# The loader


NO_MOMENTS = pa.array([], pa.int64())
ARROW_TYPES = {
    "TEXT": pa.string(),
    "BIGINT": pa.int64(),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "DOUBLE PRECISION": pa.float64(),
}
FILE_SCHEMA = pa.schema({name: ARROW_TYPES[type] for name, type in LOADED_FILES.columns.items()})


class CopyLoader:
    """Loads Blocks by COPY, as part of a transaction that the caller commits after `finish`.

    Rows are staged, and inserted from there by the conflict rules. While the tables are empty,
    though, plays go straight into theirs, whose keys, indexes and foreign keys come last; only
    their owner can do that, and only if nobody is reading them.
    """

    def __init__(self, cur: Cursor, progress: "Progress"):
        wait_for_turn(cur, load_lock_select)
        self.cur, self.progress = cur, progress
        self.moments = NO_MOMENTS  # of the block before
        self.restoring = drop_constraints(cur)
        self.target = TABLE if self.restoring else STAGING
        progress.plan = PLANS[self.target]
        self.next_id = fetch_value(cur, staging.next_songplay_select) if self.restoring else None
        for query in staging.staging_table_queries:
            cur.execute(query)

    def load_songs(self, artists, songs):
        """Upsert artists and songs, and match plays anew where that renamed a song."""
        if not len(songs):
            return
        with rematched_plays(self.cur, songs["song_id"]):
            self.stage("artists", encode_rows(artists))
            self.stage("songs", encode_rows(songs))
            self.cur.execute(staging.artist_merge)
            self.cur.execute(staging.song_merge)
            self.cur.execute(staging.staged_catalogue_delete)

    def load_log(self, moments, users, plays, unmatched, page_views):
        """Stage what a log holds, all of it encoded; or store it at once, but for users."""
        self.stage("users", users)
        if self.target == TABLE:
            plays, unmatched = self.number_plays(plays, unmatched)
            self.store("time", self.select_new_moments(moments))
            self.store("songplays", plays)
            self.store("unmatched_songplays", unmatched)
            self.store("page_views", page_views)
        else:
            self.stage("time", moments["row"])
            self.stage("songplays", plays)
            self.stage("page_views", page_views)

    def select_new_moments(self, moments):
        """Return the rows of moments, but for those that the block before this one had, too."""
        known = pc.is_in(moments["start_time"], self.moments)
        self.moments = moments["start_time"]
        return moments["row"].filter(pc.invert(known))

    def number_plays(self, plays, unmatched):
        """Return rows of songplays and of unmatched_songplays, ended by their songplay_id."""
        songplay_id = encode_column(pa.array(np.arange(self.next_id, self.next_id + len(plays))))
        self.next_id += len(plays)
        places = unmatched["place"]
        unmatched = join_fields(unmatched["row"], songplay_id.take(places))
        return join_fields(plays, songplay_id), unmatched

    def finish(self):
        """Insert what is staged, and restore what was dropped."""
        self.progress.phase("storing users")
        self.cur.execute(staging.time_merge)
        self.cur.execute(staging.user_merge)
        if self.restoring:
            self.cur.execute(staging.songplay_id_set, (self.next_id,))
            restore_constraints(self.cur, self.restoring, self.progress)
            self.cur.execute(staging.small_statistics_set)
            self.cur.execute(staging.tables_analyze)
        else:
            self.merge_plays()
            self.progress.phase("storing page views")
            self.cur.execute(staging.page_view_merge)

    def record_files(self, outcomes):
        files = [outcome.describe() for outcome in outcomes]
        columns = pa.RecordBatch.from_pylist(files, FILE_SCHEMA).columns
        self.stage("loaded_files", complete_rows(list(map(encode_column, columns))))
        self.cur.execute(staging.loaded_file_merge)

    def merge_plays(self):
        """Insert the staged plays that none of the others outranks, staged or stored.

        Mostly none is stored of that time, nor staged twice: it costs less to try than to look.
        """
        if fetch_value(self.cur, staging.staged_range_select):
            self.progress.phase("comparing plays")
            self.cur.execute(staging.staged_duplicates_delete)
            self.cur.execute(staging.staged_outranked_delete)
            self.progress.phase("storing plays")
            self.cur.execute(staging.songplay_merge)
            return
        self.progress.phase("storing new plays")
        self.cur.execute(savepoint_set)
        try:
            self.cur.execute(staging.new_songplay_merge)
        except psycopg2.errors.UniqueViolation:
            self.cur.execute(savepoint_rollback)
            self.cur.execute(staging.staged_duplicates_delete)
            self.cur.execute(staging.new_songplay_merge)

    def stage(self, table, rows):
        """COPY encoded rows to what is staged for a table."""
        copy(self.cur, staging.staging_copy[table], rows)

    def store(self, table, rows):
        """COPY encoded rows straight to a table."""
        copy(self.cur, staging.table_copy[table], rows)


def copy(cur: Cursor, statement: str, rows: pa.Array) -> None:
    cur.copy_expert(statement, io.BytesIO(encode_stream(rows)), COPY_BYTES)


def fetch_catalogue(cur: Cursor) -> pa.Table:
    """Return the songs of the catalogue by what a log calls them, to be looked up in."""
    chunks = [CATALOGUE_SCHEMA.empty_table()]
    with cur.connection.cursor("catalogue") as songs:
        songs.execute(staging.catalogue_songs_select)
        while rows := songs.fetchmany(SONGS):
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            chunks.append(make_catalogue(*columns))
    return pa.concat_tables(chunks).combine_chunks()
