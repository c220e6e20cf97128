"""A column that is added to a copy of the project, as docs/development.md says, is loaded."""

import os
import shutil
import subprocess
import sys

import pytest
from records import event, song, write_data
from scripts import PROJECT, environment_of

# By module: what is written before what is there. Songs get a genre, plays their volume.
EDITS = {
    "sql_queries.py": {
        "    artist_name TEXT NOT NULL\n": "    genre       TEXT,\n",
        "    UNIQUE (user_id, start_time, session_id) INC": "    volume      BIGINT,\n",
        "       COALESCE(songs.title, unmatched": "       songplays.volume,\n",
        '"NULLIF({}.year, 0)"]': '"genre", ',
    },
    "sparkify/read/fields.py": {
        '        "artist_name": pa.string(),\n': '        "genre": pa.string(),\n',
        '        "auth": pa.string(),\n': '        "volume": pa.int64(),\n',
        '"song", "artist", "length", "duration")': '"volume", ',
    },
    "sparkify/read/transform.py": {
        '"artist_name"]': '"genre", ',
        '    "song": "title",\n    "artist": "artist",\n}': '    "volume": "volume",\n',
    },
    "sparkify/data_dictionary.toml": {
        'duration = "Length of the song': 'volume = "How loud it is"\n',
        'artist_name = "Name': 'genre = "Genre; NULL where unknown"\n',
    },
    "sparkify/postgres/rights.py": {
        '("songs", "artist_name")': '("songs", "genre"), '
        '("songplays", "volume"), ("listening", "volume"), ',
    },
}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project that has the columns."""
    folder = tmp_path_factory.mktemp("extended") / "project"
    shutil.copytree(PROJECT / "sparkify", folder / "sparkify")
    for name in ("sql_queries.py", "create_tables.py", "etl.py"):
        shutil.copy(PROJECT / name, folder)
    for name, edits in EDITS.items():
        text = (folder / name).read_text(encoding="utf-8")
        for place, new in edits.items():
            assert text.count(place) == 1, (name, place)
            text = text.replace(place, new + place)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_a_new_column_is_loaded_either_way(extended, cur, conn, tmp_path, loader):
    def run(script, *arguments):
        variables = {name: os.environ[name] for name in ("SPARKIFY_PGDATA",)}
        command = [sys.executable, extended / script, *arguments]
        result = subprocess.run(
            command, env=environment_of(**variables), capture_output=True, encoding="utf-8"
        )
        assert (result.stderr, result.returncode) == ("", 0)

    first = write_data(
        tmp_path / "first",
        [song(genre="jazz"), song(song_id="SO2", title="Other")],
        [event(volume=7), event(ts=1, volume=1), event(ts=2, song="None's", volume=9)],
    )
    # Into filled tables; the same records again, of which those with the greater values count.
    second = write_data(
        tmp_path / "second",
        [song(genre="blues"), song(song_id="SO2", title="Other", genre="folk")],
        [event(volume=5), event(ts=1, volume=6), event(ts=3, volume=3)],
    )
    conn.commit()
    run("create_tables.py")
    for folder in (first, second):
        run("etl.py", folder, "--load", loader)
    cur.execute("SELECT song_id, genre FROM songs ORDER BY song_id")
    assert cur.fetchall() == [("SO1", "jazz"), ("SO2", "folk")]
    cur.execute("SELECT volume FROM songplays ORDER BY start_time")
    assert cur.fetchall() == [(6,), (9,), (3,), (7,)]
