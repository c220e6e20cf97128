"""Load: the rows of the star schema's tables into Postgres, row by row or by COPY.

Either way the conflict rules in sql_queries decide, and the tables come out the same.
"""

import functools
import io
import itertools
import re
import time
from collections import deque
from contextlib import contextmanager
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2.extras import execute_batch

import database
from sql_queries import (
    artist_merge,
    artist_staging_copy,
    artist_table_insert,
    catalogue_select,
    constraints_select,
    deferred_triggers_run,
    duplicate_songplays_delete,
    duplicate_time_delete,
    duplicate_unmatched_delete,
    file_staging_copy,
    load_lock_select,
    loaded_file_merge,
    lock_timeout_reset,
    lock_timeout_set,
    marked_indexes_select,
    next_songplay_select,
    renamed_songs_select,
    savepoint_rollback,
    savepoint_set,
    small_statistics_set,
    song_merge,
    song_select,
    song_staging_copy,
    song_table_insert,
    songplay_exists_select,
    songplay_id_set,
    songplay_match,
    songplay_merge,
    songplay_outranked_delete,
    songplay_range_select,
    songplay_release,
    songplay_staging_copy,
    songplay_table_copy,
    songplay_table_insert,
    staged_catalogue_delete,
    staged_duplicates_delete,
    staged_outranked_delete,
    staged_range_select,
    staging_table_queries,
    tables_analyze,
    tables_are_empty_select,
    tables_lock,
    time_merge,
    time_staging_copy,
    time_table_copy,
    time_table_insert,
    unmatched_songplay_table_copy,
    user_merge,
    user_staging_copy,
    user_table_insert,
)
from transform import (
    Span,
    complete_rows,
    encode_column,
    encode_rows,
    encode_stream,
    make_block,
    plan_blocks,
    read_block,
    split_name,
)

PAGE_ROWS = 1000  # that are sent to the server together
FEW_ROWS = 10  # that are not worth a prepared statement
PATIENCE_SECONDS = 2  # to wait for those who read empty tables
LOCK_TIMEOUT = "500ms"  # less than what Postgres takes to find a deadlock
COPY_BYTES = 1 << 20  # that are handed to libpq together
statement_numbers = itertools.count(1)


# Blocks, read ahead of their loading


def read_blocks(files, filesystem=None, encode=False, executor=None, ahead=0):
    """Yield the Blocks of files, {kind: files}, in order, with rejects numbered as in their file.

    An executor reads up to `ahead` of them while others are being loaded.
    """
    plan = ((kind, spans) for kind in files for spans in plan_blocks(files[kind]))
    read = functools.partial(read_block, filesystem=filesystem, encode=encode)
    lines_before = 0
    for block in read_ahead(read, plan, executor, ahead):
        if block.spans[0].start == 0:
            lines_before = 0
        for rejects in block.rejects:
            number_rejects(rejects, lines_before)
        lines_before += block.line_ends
        yield block


def number_rejects(rejects, lines_before):
    """Change the line numbers of Rejects from those in their text to those in their file."""
    rejects[:] = [reject._replace(line=reject.line + lines_before) for reject in rejects]


def read_ahead(read, plan, executor, ahead):
    """Yield what `read` makes of each part of a plan. A slow loader makes the readers wait."""
    if executor is None:
        yield from itertools.starmap(read, plan)
        return
    waiting = deque()
    try:
        for part in plan:
            waiting.append(executor.submit(read, *part))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


# What both loaders do


class LoadReport(NamedTuple):
    """What became of a file or a part of it: records read, records loaded, lines set aside."""

    records: int
    loaded: int
    rejects: list

    def __add__(self, other):
        return LoadReport(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class UnreadableFile(Exception):
    """A file that can't be read, or not to its end: its argument is the OSError."""


def kind_and_file(block):
    """Return what the Blocks of one large file have in common, and no others."""
    return block.kind, block.spans[0].file


def fetch_value(cur, query, parameters=None):
    """Return the only value that a query selects."""
    cur.execute(query, parameters)
    return cur.fetchone()[0]


def all_rows(frame):
    """Return a frame's rows as tuples, without `piece`, of values that psycopg2 adapts.

    NA becomes None and a timestamp text, which is faster to adapt than a datetime.
    """
    columns = [pa.array(frame[name]) for name in frame.columns[1:]]
    columns = [c.cast("string") if pa.types.is_timestamp(c.type) else c for c in columns]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def split_rows(frame, pieces):
    """Return a frame's rows as tuples in a list per piece. They must be in the order of pieces."""
    rows = all_rows(frame)
    bounds = np.searchsorted(frame["piece"], range(pieces + 1))
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]


def columns_of(rows):
    """Return rows as a list of columns: arrays to Postgres."""
    return [list(column) for column in zip(*rows, strict=True)]


def fetch_songs(cur, logged):
    """Return (song_id, artist_id) by (title, artist, duration) as logged, where a song fits."""
    cur.execute(song_select, columns_of(logged))
    return {(title, artist, duration): ids for title, artist, duration, *ids in cur}


@contextmanager
def rematched_plays(cur, artists, songs):
    """Match plays anew where the block, an upsert of these rows, changes what a song is called."""
    matching = fetch_value(cur, songplay_exists_select)
    ids = fetch_affected_songs(cur, artists, songs) if matching else []
    before = fetch_catalogue(cur, ids)
    yield
    after = fetch_catalogue(cur, ids)
    if before != after:
        execute_batch(cur, songplay_release, [(song[0], *song[2:]) for song in before - after])
        cur.execute(songplay_match, columns_of(song[2:] for song in before ^ after))


def fetch_affected_songs(cur, artists, songs):
    """Return the ids of these songs, and of those by these artists if another name is stored."""
    cur.execute(renamed_songs_select, columns_of(artist[:2] for artist in artists))
    return [song[0] for song in songs] + [song_id for (song_id,) in cur]


def fetch_catalogue(cur, song_ids):
    """Return the set of those of these songs that are stored, as a log would name them."""
    if not song_ids:
        return set()
    cur.execute(catalogue_select, (song_ids,))
    return set(cur)


# Load row by row, a file at a time


class Batch(NamedTuple):
    """What a Span holds, as rows: parts to load in turn, each a list of rows per table."""

    parts: list
    records: int
    loadable: int
    rejects: list
    error: OSError | None


def split_batches(blocks):
    """Yield (kind, file) and a Batch of it for each file of the Blocks, several if it is large."""
    for block in blocks:
        pieces = len(block.spans)
        parts = [[split_rows(frame, pieces) for frame in part] for part in block.parts]
        for position, span in enumerate(block.spans):
            own_parts = [[rows[position] for rows in part] for part in parts]
            rest = (block.records, block.loadable, block.rejects, block.errors)
            yield (block.kind, span.file), Batch(own_parts, *(values[position] for values in rest))


def read_entries(entries):
    """Yield (kind, file) and a Batch for each line set aside, given as (kind, file, line, text)."""
    for kind, group in itertools.groupby(entries, key=itemgetter(0)):
        while chunk := list(itertools.islice(group, PAGE_ROWS)):
            _, files, first_lines, texts = zip(*chunk, strict=True)
            block = make_block(kind, list(map(Span, files)), texts, [None] * len(texts))
            for rejects, first_line in zip(block.rejects, first_lines, strict=True):
                number_rejects(rejects, first_line - 1)
            yield from split_batches([block])


def load_file(cur, batches, load):
    """Load all Batches of a file and return a LoadReport. Raises UnreadableFile."""
    database.wait_for_turn(cur, load_lock_select)  # for callers that don't hold etl.py's lock
    records, loaded, rejects = 0, 0, []
    for batch in batches:
        if batch.error:
            raise UnreadableFile(batch.error)
        for part in batch.parts:
            if part[-1]:
                load(cur, *part)
        records += batch.records
        loaded += batch.loadable
        rejects += batch.rejects
    return LoadReport(records, loaded, rejects)


def load_songs(cur, artists, songs):
    """Upsert artists and songs, and match plays anew where that changed what a song is called."""
    with rematched_plays(cur, artists, songs):
        insert_rows(cur, artist_table_insert, artists)
        insert_rows(cur, song_table_insert, songs)


def load_plays(cur, moments, users, plays):
    """Upsert time and users, then insert the plays with the songs that fit them."""
    insert_rows(cur, time_table_insert, moments)
    insert_rows(cur, user_table_insert, users)
    delete_outranked_plays(cur, plays)
    songs = fetch_songs(cur, [play[-3:] for play in plays])
    rows = [(*play[:3], *songs.get(play[-3:], (None, None)), *play[3:]) for play in plays]
    insert_rows(cur, songplay_table_insert, rows)


def insert_rows(cur, statement, rows):
    """Execute an INSERT for each row; if there are many, Postgres plans it once for all of them."""
    if len(rows) < FEW_ROWS:
        execute_batch(cur, statement, rows, PAGE_ROWS)
        return
    name = f"statement_{next(statement_numbers)}"
    numbers = itertools.count(1)
    prepared = re.sub("%s", lambda _: f"${next(numbers)}", statement)
    cur.execute(f"PREPARE {name} AS {prepared}")
    values = ", ".join(["%s"] * len(rows[0]))
    execute_batch(cur, f"EXECUTE {name} ({values})", rows, PAGE_ROWS)
    cur.execute(f"DEALLOCATE {name}")


def delete_outranked_plays(cur, plays):
    """Delete stored plays with the natural key of one of these that is to replace them."""
    start_times = [play[0] for play in plays]
    if fetch_value(cur, songplay_range_select, (min(start_times), max(start_times))):
        cur.execute(songplay_outranked_delete, columns_of(plays))


# Load by COPY, all files in one transaction

NO_MOMENTS = pa.array([], pa.int64())
NO_SONGS = pa.schema(
    {"name": pa.string(), "song_id": pa.binary(), "artist_id": pa.binary()}
).empty_table()
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

    def __init__(self, cur):
        database.wait_for_turn(cur, load_lock_select)
        self.cur = cur
        self.songs = NO_SONGS  # the ids, encoded, of what logs call a song
        self.moments = NO_MOMENTS  # of the block before
        self.restoring = drop_constraints(cur)
        self.next_id = fetch_value(cur, next_songplay_select) if self.restoring else None
        for query in staging_table_queries:
            cur.execute(query)

    def set_savepoint(self):
        self.cur.execute(savepoint_set)

    def undo(self):
        """Take back what was loaded since the savepoint."""
        self.cur.execute(savepoint_rollback)
        self.moments = NO_MOMENTS

    def load_songs(self, artists, songs):
        """Upsert artists and songs, and match plays anew where that renamed a song."""
        with rematched_plays(self.cur, all_rows(artists), all_rows(songs)):
            copy(self.cur, artist_staging_copy, encode_rows(artists))
            copy(self.cur, song_staging_copy, encode_rows(songs))
            self.cur.execute(artist_merge)
            self.cur.execute(song_merge)
            self.cur.execute(staged_catalogue_delete)

    def load_plays(self, moments, users, plays):
        """Stage time, users and plays, all of them encoded; or store moments and plays at once."""
        copy(self.cur, user_staging_copy, users)
        song_id, artist_id = self.encode_song_ids(plays["song"])
        if self.restoring:
            self.store_moments(moments)
            self.store_plays(plays["play"], plays["logged"], song_id, artist_id)
        else:
            copy(self.cur, time_staging_copy, moments["row"])
            rows = complete_rows([plays["play"], plays["logged"], song_id, artist_id], 11)
            copy(self.cur, songplay_staging_copy, rows)

    def store_moments(self, moments):
        """COPY moments to their table, but for those that the block before this one had, too."""
        known = pc.is_in(moments["start_time"], self.moments)
        copy(self.cur, time_table_copy, moments["row"].filter(pc.invert(known)))
        self.moments = moments["start_time"]

    def store_plays(self, play, logged, song_id, artist_id):
        """COPY plays to their table, and those that no song fits to unmatched_songplays as well."""
        ids = pa.array(range(self.next_id, self.next_id + len(play)), pa.int64())
        self.next_id += len(play)
        songplay_id, unmatched = encode_column(ids), song_id.is_null()
        rows = complete_rows([play, song_id, artist_id, songplay_id], 9)
        copy(self.cur, songplay_table_copy, rows)
        rows = complete_rows([logged, songplay_id], 4).filter(unmatched)
        copy(self.cur, unmatched_songplay_table_copy, rows)

    def encode_song_ids(self, logged):
        """Return song_id and artist_id of logged songs, encoded. Each song is looked up once."""
        names = logged.dictionary
        unknown = names.filter(pc.invert(pc.is_in(names, self.songs["name"]))).to_pylist()
        if unknown:
            songs = [split_name(name) for name in unknown]
            found = fetch_songs(self.cur, songs)
            ids = zip(*(found.get(song, (None, None)) for song in songs), strict=True)
            new = [encode_column(pa.array(column, pa.string())) for column in ids]
            new = pa.table([pa.array(unknown), *new], self.songs.schema)
            self.songs = pa.concat_tables([self.songs, new]).combine_chunks()
        places = pc.index_in(names, self.songs["name"]).take(logged.indices)
        song_id, artist_id = self.songs.select(["song_id", "artist_id"]).take(places).columns
        return song_id.combine_chunks(), artist_id.combine_chunks()

    def finish(self):
        """Insert what is staged, and restore what was dropped."""
        self.cur.execute(time_merge)
        self.cur.execute(user_merge)
        if self.restoring:
            self.cur.execute(songplay_id_set, (self.next_id,))
            restore_constraints(self.cur, self.restoring)
            self.cur.execute(small_statistics_set)
            self.cur.execute(tables_analyze)
        else:
            self.merge_plays()

    def record_files(self, files):
        """Note files as loaded: dicts as of Job.describe."""
        columns = pa.RecordBatch.from_pylist(files, FILE_SCHEMA).columns
        copy(self.cur, file_staging_copy, complete_rows(map(encode_column, columns), len(columns)))
        self.cur.execute(loaded_file_merge)

    def merge_plays(self):
        """Insert the staged plays that none of the others outranks, staged or stored."""
        self.cur.execute(staged_duplicates_delete)
        if fetch_value(self.cur, staged_range_select):
            self.cur.execute(staged_outranked_delete)
        self.cur.execute(songplay_merge)


def copy(cur, statement, rows):
    """COPY encoded rows."""
    cur.copy_expert(statement, io.BytesIO(encode_stream(rows)), COPY_BYTES)


def drop_constraints(cur):
    """Drop what slows COPY down and return the statements that restore it.

    None of them where a table isn't empty, can't be altered, or is read for PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while fetch_value(cur, tables_are_empty_select):
        cur.execute(savepoint_set)
        try:
            cur.execute(lock_timeout_set, (LOCK_TIMEOUT,))
            cur.execute(tables_lock)
            return drop_constraints_of_locked_tables(cur)
        except psycopg2.errors.LockNotAvailable:
            cur.execute(savepoint_rollback)  # keeps nobody waiting meanwhile
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        except CANNOT_ALTER:
            cur.execute(savepoint_rollback)
            break
    return []


# What Postgres says to those who don't own a table, or where something depends on a key.
CANNOT_ALTER = (
    psycopg2.errors.InsufficientPrivilege,
    psycopg2.errors.DependentObjectsStillExist,
)


def drop_constraints_of_locked_tables(cur):
    """Drop what slows COPY down and return how to restore it; nothing if that can't be done."""
    if not fetch_value(cur, tables_are_empty_select) or fetch_value(cur, marked_indexes_select):
        cur.execute(savepoint_rollback)
        return []
    restoring = drop_keys(cur, PLAY_TABLES, STAR_SCHEMA)
    cur.execute(lock_timeout_reset)
    return restoring


PLAY_TABLES = ["songplays", "time", "unmatched_songplays"]
STAR_SCHEMA = [*PLAY_TABLES, "users", "songs", "artists"]


def drop_keys(cur, filled, ours):
    """Drop keys and indexes of tables that are filled and all foreign keys of ours.

    Returns the statements that restore them.
    """
    cur.execute(constraints_select, {"filled": filled, "ours": ours})
    definitions = cur.fetchall()
    for drop, _ in reversed(definitions):
        cur.execute(drop)
    return [restore for _, restore in definitions]


def restore_constraints(cur, statements):
    """Create keys, indexes and foreign keys, having deleted the duplicates that there may be."""
    cur.execute(deferred_triggers_run)  # tables with pending ones can't be altered
    cur.execute(savepoint_set)
    try:
        for statement in statements:
            cur.execute(statement)
    except psycopg2.errors.UniqueViolation:
        cur.execute(savepoint_rollback)
        cur.execute(duplicate_songplays_delete)
        cur.execute(duplicate_unmatched_delete)
        cur.execute(duplicate_time_delete)
        for statement in statements:
            cur.execute(statement)


def load_block(block, load, leave_out):
    """Load a Block and yield (file, LoadReport), or hand the OSError that met a file to leave_out.

    If it is a part of a file, UnreadableFile is raised: the other parts must not be loaded either.
    """
    for error in filter(None, block.errors):
        if len(block.spans) == 1:
            raise UnreadableFile(error)
        leave_out(error)
    for part in block.parts:
        if len(part[-1]):
            load(*part)
    for position, span in enumerate(block.spans):
        if not block.errors[position]:
            counts = block.records[position], block.loadable[position]
            yield span.file, LoadReport(*counts, block.rejects[position])
