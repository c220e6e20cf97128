"""Load by COPY: all files in one transaction, by the conflict rules of sql_queries."""

import io
import itertools
import time
from operator import attrgetter

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc

from sparkify import staging
from sparkify.constraints import drop_constraints, restore_constraints
from sparkify.encode import (
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
from sparkify.files import UnreadableFile
from sparkify.load import (
    fetch_value,
    rematched_plays,
    savepoint_rollback,
    savepoint_set,
    transaction,
)
from sparkify.locks import load_lock_select, wait_for_turn
from sparkify.messages import LoadError, one_line
from sparkify.progress import COUNTING, SILENT
from sparkify.report import count_table_rows
from sparkify.transform import all_rows

COPY_BYTES = 1 << 20  # that are handed to libpq together
SONGS = 20_000  # of the catalogue that are fetched together
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


def load_copy(cur, conn, files, read, tallies, progress=SILENT):
    """Load Files, whose Blocks `read` yields, commit and return row counts. Raises LoadError.

    A large file that turns out to be unreadable when a part of it is in the tables has all be
    taken back and loaded anew, without it.
    """
    while True:
        try:
            return copy_files(cur, conn, files, read, tallies, progress)
        except UnreadableFile as error:
            files = [file for file in files if file.uri != error.args[0].filename]
            progress.start_over()
            for tally in tallies.values():
                tally.reject_file.start_over()


def copy_files(cur, conn, files, read, tallies, progress):
    """Load Files in a transaction and return row counts. Raises LoadError, UnreadableFile.

    Rows are counted before the commit: the first to read a row after it marks that row, on disk, as
    committed (its hint bits: https://wiki.postgresql.org/wiki/Hint_Bits), unless it was frozen.
    """
    try:
        with transaction(conn):
            loader = CopyLoader(cur, progress)
            outcomes = [
                outcome
                for blocks in read_in_turn(loader, files, read)
                for outcome in copy_blocks(loader, blocks, tallies)
            ]
            started = time.monotonic()
            loader.finish()
            share = (time.monotonic() - started) / max(1, len(outcomes))
            for outcome in outcomes:
                outcome.seconds += share
            loader.record_files(outcomes)
            progress.phase(COUNTING)
            counts = count_table_rows(cur)
    except psycopg2.Error as error:
        is_of_rows = isinstance(error, (psycopg2.IntegrityError, psycopg2.DataError))
        remedy = "--load rows stops at the file that causes it" if is_of_rows else "run it again"
        raise LoadError(f"{one_line(error)}; nothing was loaded; {remedy}") from error
    for outcome in outcomes:
        tallies[outcome.file.kind].count_loaded(outcome)
    return counts


def read_in_turn(loader, files, read):
    """Yield the Blocks of several small Files, or of a large one, songs before logs.

    When the first log is read, the songs are all in their table: that is the catalogue.
    """
    for kind, files_of_kind in itertools.groupby(files, key=attrgetter("kind")):
        catalogue = fetch_catalogue(loader.cur) if kind == "log" else None
        blocks = loader.progress.watch(read(list(files_of_kind), loader.target, catalogue))
        for _, blocks_of_file in itertools.groupby(blocks, key=name_first):
            yield blocks_of_file


def name_first(block):
    """Return what the Blocks of one large file have in common, and no others."""
    return block.outcomes[0].name()


def copy_blocks(loader, blocks, tallies):
    """Load Blocks, one of several files or several of one file, but for what can't be read.

    Returns the Outcomes of the files that were loaded.
    """
    started = time.monotonic()
    outcomes = {}
    for block in blocks:
        kind = block.outcomes[0].file.kind
        if not is_readable(block, tallies[kind]):
            break  # there is no use in the file's other parts
        for tables in block.rounds:
            loader.load[kind](*tables)
        for outcome in block.outcomes:
            tallies[kind].keep_rejects(outcome)
        add_outcomes(outcomes, block)
    tallies[kind].reject_file.enter()
    for outcome in outcomes.values():
        outcome.seconds = (time.monotonic() - started) / len(outcomes)
    return list(outcomes.values())


def is_readable(block, tally):
    """Report the files of a Block that could not be read, and tell whether there are others.

    Raises UnreadableFile where a part of one of them is in the tables.
    """
    errors = [outcome.error for outcome in block.outcomes if outcome.error]
    for error in errors:
        tally.leave_out(error)
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
FILE_SCHEMA = pa.schema(
    {
        "uri": pa.string(),
        "kind": pa.string(),
        "size": pa.int64(),
        "modified": pa.timestamp("us", "UTC"),
        "loaded": pa.int64(),
        "set_aside": pa.int64(),
        "seconds": pa.float64(),
    }
)


class CopyLoader:
    """Loads Blocks by COPY, as part of a transaction that the caller commits after `finish`.

    Rows are staged, and inserted from there by the conflict rules. While the tables are empty,
    though, plays go straight into theirs, whose keys, indexes and foreign keys come last; only
    their owner can do that, and only if nobody is reading them.
    """

    def __init__(self, cur, progress=SILENT):
        wait_for_turn(cur, load_lock_select)
        self.cur, self.progress = cur, progress
        self.load = {"song": self.load_songs, "log": self.load_log}
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
        with rematched_plays(self.cur, all_rows(artists), all_rows(songs)):
            copy(self.cur, staging.artist_staging_copy, encode_rows(artists))
            copy(self.cur, staging.song_staging_copy, encode_rows(songs))
            self.cur.execute(staging.artist_merge)
            self.cur.execute(staging.song_merge)
            self.cur.execute(staging.staged_catalogue_delete)

    def load_log(self, moments, users, plays, unmatched, page_views):
        """Stage what a log holds, all of it encoded; or store it at once, but for users."""
        copy(self.cur, staging.user_staging_copy, users)
        if self.target == TABLE:
            plays, unmatched = self.number_plays(plays, unmatched)
            copy(self.cur, staging.time_table_copy, self.select_new_moments(moments))
            copy(self.cur, staging.songplay_table_copy, plays)
            copy(self.cur, staging.unmatched_songplay_table_copy, unmatched)
            copy(self.cur, staging.page_view_table_copy, page_views)
        else:
            copy(self.cur, staging.time_staging_copy, moments["row"])
            copy(self.cur, staging.songplay_staging_copy, plays)
            copy(self.cur, staging.page_view_staging_copy, page_views)

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
        """Note the files of Outcomes as loaded."""
        files = [outcome.describe(as_stored=True) for outcome in outcomes]
        columns = pa.RecordBatch.from_pylist(files, FILE_SCHEMA).columns
        copy(
            self.cur,
            staging.file_staging_copy,
            complete_rows(map(encode_column, columns), len(columns)),
        )
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


def fetch_catalogue(cur):
    """Return the songs of the catalogue by what a log calls them, to be looked up in."""
    cur.execute(staging.exact_numbers_set)
    chunks = [CATALOGUE_SCHEMA.empty_table()]
    with cur.connection.cursor("catalogue") as songs:
        songs.execute(staging.catalogue_songs_select)
        while rows := songs.fetchmany(SONGS):
            columns = [pa.array(column) for column in zip(*rows, strict=True)]
            chunks.append(make_catalogue(*columns))
    return pa.concat_tables(chunks).combine_chunks()


def copy(cur, statement, rows):
    """COPY encoded rows."""
    cur.copy_expert(statement, io.BytesIO(encode_stream(rows)), COPY_BYTES)
