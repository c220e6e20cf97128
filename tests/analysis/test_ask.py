"""The command ask lists the analysts' questions and answers them, for people and for programs."""

import contextlib
import csv
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from records import event, load_data, song, write_data
from scripts import PROJECT, assert_fails_in_one_line, call, environment_of, run, script_of

from sparkify.analysis import answers, ask
from sparkify.analysis.questions import analytics_queries
from sparkify.interpreter import command
from sparkify.postgres import connection, watchdog

TITLES = list(analytics_queries)
RECOMMEND = "songs to recommend to a user"
HERE = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}


def run_ask(*arguments, how=call, **variables):
    return how("sparkify", "ask", *arguments, **HERE | variables)


def printed(*arguments):
    """Return what the command prints, having seen that it did well."""
    result = run_ask(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def assert_wrong(result, *words):
    """Check that the command took its arguments for wrong, and said these words on stderr."""
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("sparkify: ")
    assert [word for word in words if word not in result.stderr] == [], result.stderr


def assert_wrong_in_one_line(result, *words):
    assert_wrong(result, *words)
    assert result.stderr.count("\n") == 1


def fetch_rows(conn, question, **parameters):
    with conn, conn.cursor() as cur:
        cur.execute(analytics_queries[question], parameters or None)
        return [column.name for column in cur.description], cur.fetchall()


def run_on_terminal(columns, *arguments):
    """Return what the command prints on a terminal of so many columns."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))  # not on Windows
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, *script_of("sparkify"), "ask", *arguments]
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment_of(**HERE), stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    said = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other side has closed it
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait() == 0
    return said.decode().replace("\r\n", "\n").splitlines()


def without_legend(lines):
    """Return the lines of a table without those that say what its columns are."""
    return lines[: lines.index("")] if "" in lines else lines


# Which question


def test_without_a_question_all_are_listed_with_their_numbers_and_options():
    lines = printed().splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [
        str(number) for number in range(1, len(TITLES) + 1)
    ]
    assert [line.split(maxsplit=1)[1].partition(" (")[0] for line in lines] == TITLES
    [line] = [line for line in lines if RECOMMEND in line]
    assert line.endswith("  songs to recommend to a user (--user-id, --limit 10)")


@pytest.mark.parametrize("title", TITLES)
def test_a_question_is_known_by_its_number_and_its_title(title):
    assert ask.find_question(str(TITLES.index(title) + 1)) == title
    assert ask.find_question(title.upper()) == title


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("PLAYED most Song", "most played songs"),
        ("activity by weekday", "activity by weekday"),  # the title of another begins like this
        ("day, gender", "plays and users by day and gender"),
    ],
)
def test_words_of_a_title_are_enough(asked, meant):
    assert ask.find_question(asked) == meant


def test_words_that_fit_several_questions_list_these():
    result = run_ask("weekday", "activity")
    assert_wrong(result)
    assert result.stderr.splitlines()[1:] == [
        f"{TITLES.index(title) + 1:>3}  {title} (--time-zone UTC)"
        for title in ("activity by weekday", "activity by weekday and hour")
    ]


@pytest.mark.parametrize("asked", ["most plaed songs", "Songs, most playd"])
def test_an_unknown_question_suggests_the_nearest(asked):
    assert_wrong_in_one_line(run_ask(asked), asked, 'did you mean "most played songs"?')


@pytest.mark.parametrize("asked", ["0", str(len(TITLES) + 1), "-1", "?", "zzz"])
def test_what_is_like_no_question_points_to_the_list(asked):
    assert_wrong_in_one_line(run_ask(asked), f'"{asked}"', f"{ask.LIST} lists them all")


# Parameters


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([RECOMMEND], [RECOMMEND, "needs --user-id\n"]),
        ([RECOMMEND, "--user-id", "Ada"], ['--user-id must be a whole number, not "Ada"']),
        ([RECOMMEND, "--user-id", "8", "--limit", "1.5"], ["--limit must be a whole number"]),
        (["1", "--limit", "3"], [TITLES[0], "takes no --limit\n"]),
        (["1", "--colour", "red"], ["there is no --colour\n"]),
        (
            ["activity by hour", "--timezone=UTC"],
            ['there is no --timezone=UTC; did you mean "--time-zone"?'],
        ),
        ([RECOMMEND, "--limit"], ["--limit"]),
        (["1", "--csv", "--json"], ["--csv"]),
    ],
)
def test_parameters_that_are_missing_or_too_many_are_told_in_one_line(arguments, words):
    assert_wrong_in_one_line(run_ask(*arguments), *words)


def test_parameters_may_stand_anywhere(sample):
    names, rows = fetch_rows(sample, RECOMMEND, user_id=15, limit=2)
    said = printed("--limit", "2", "songs", "--user-id=15", "recommend", "--json")
    assert json.loads(said) == [dict(zip(names, row, strict=True)) for row in rows]
    assert len(rows) == 2


def test_a_parameter_that_has_a_default_need_not_be_given(sample):
    _, rows = fetch_rows(sample, "activity by hour", time_zone="America/New_York")
    lines = printed("activity by hour", "--time-zone", "America/New_York", "--csv").splitlines()
    assert lines[1:] == [",".join(map(str, row)) for row in rows]
    assert lines != printed("activity by hour", "--csv").splitlines()


def test_a_parameter_may_be_negative(sample):
    _, rows = fetch_rows(sample, RECOMMEND, user_id=-1, limit=1)
    lines = printed(RECOMMEND, "--user-id", "-1", "--limit", "1", "--csv").splitlines()
    assert [lines[1].split(",")[0]] == [title for title, *_ in rows]


def test_a_limit_need_not_be_given(sample):
    _, rows = fetch_rows(sample, RECOMMEND, user_id=15, limit=10)
    assert len(json.loads(printed(RECOMMEND, "--user-id", "15", "--json"))) == len(rows) == 10


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("UTC+2", ["Etc/GMT-2 is UTC+2; better a place, such as Europe/Berlin"]),
        ("gmt+02:00", ["Etc/GMT-2 is UTC+2"]),
        ("-5", ["Etc/GMT+5 is UTC-5"]),
        ("-05:00", ["Etc/GMT+5 is UTC-5"]),
        ("+0530", ["no name of a time zone; name a place"]),
        ("UTC+15", ["no name of a time zone; name a place"]),
        ("GMT-0", ["write UTC"]),
        ("New York", ['did you mean "America/New_York"?']),
        ("IST", ["name a place, such as Europe/Berlin"]),  # not MST, which is like it
        ("CEST", ["name a place, such as Europe/Berlin"]),
        ("EST5", ["there is no time zone"]),  # Postgres takes it, as POSIX's
        ("nowhere at all", ["there is no time zone", "name a place, such as Europe/Berlin"]),
        ("", ["there is no time zone"]),
    ],
)
def test_time_zones_that_postgres_would_take_otherwise_or_not_are_told_in_one_line(
    sample, zone, words
):
    assert_wrong_in_one_line(run_ask("activity by hour", "--time-zone", zone), f'"{zone}"', *words)


@pytest.mark.parametrize(
    ("zone", "hours_ahead"), [("utc", 0), ("asia/kolkata", 5.5), ("Etc/GMT-2", 2), ("EST", -5)]
)
def test_time_zones_are_named_as_the_server_knows_them(sample, zone, hours_ahead):
    with sample, sample.cursor() as cur:
        cur.execute(
            "SELECT extract(hour FROM start_time AT TIME ZONE 'UTC' + %s * INTERVAL '1 hour') "
            "AS hour, count(*) FROM songplays GROUP BY hour ORDER BY hour",
            (hours_ahead,),
        )
        expected = [(int(hour), plays) for hour, plays in cur]
    answer = json.loads(printed("activity by hour", "--time-zone", zone, "--json"))
    assert [(row["hour"], row["plays"]) for row in answer if row["plays"]] == expected


# CSV and JSON

# They have numbers, text with quotes, true and false, NULL, dates, times and fractions.
READ_BACK = [
    "most played songs",
    "songs of the catalogue that nobody plays",
    "plays and users by week and state",
    "changes of level",
    "a typical user and session",
]


@pytest.mark.parametrize("question", READ_BACK)
def test_json_is_the_rows_of_the_query(sample, question):
    names, rows = fetch_rows(sample, question)
    expected = [dict(zip(names, map(as_json, row), strict=True)) for row in rows]
    assert as_typed(json.loads(printed(question, "--json"))) == as_typed(expected)


@pytest.mark.parametrize("question", READ_BACK)
def test_csv_is_the_rows_of_the_query(sample, question):
    names, rows = fetch_rows(sample, question)
    header, *lines = csv.reader(io.StringIO(printed(question, "--csv")))
    assert header == names
    assert lines == [["" if v is None else str(as_json(v)) for v in row] for row in rows]


def as_json(value):
    return value.isoformat() if isinstance(value, date) else value


def as_typed(objects):
    """Return objects so that 1, 1.0 and true differ."""
    return [[(name, type(value), value) for name, value in row.items()] for row in objects]


def test_the_questions_read_back_have_nulls_among_whole_numbers(sample):
    _, rows = fetch_rows(sample, "songs of the catalogue that nobody plays")
    assert {type(year) for *_, year in rows} == {int, type(None)}


VALUES = {
    "sum": (Decimal("618"), 618, "618"),
    "mean": (Decimal("12.50"), 12.5, "12.5"),
    "time": (
        datetime(2018, 11, 2, 1, 30, 0, 796000, timezone(timedelta(hours=2))),
        "2018-11-01T23:30:00.796000+00:00",
        "2018-11-01T23:30:00.796000+00:00",
    ),
    "text": ('"日本", or\nelse', '"日本", or\nelse', '"日本", or\nelse'),
    "number": (None, None, ""),
}


def test_values_of_other_types_are_plain_and_times_in_utc(capsys):
    rows = [[value for value, _, _ in VALUES.values()]]
    answers.write_json(list(VALUES), rows)
    [read] = json.loads(capsys.readouterr().out)
    assert as_typed([read]) == as_typed([{name: value for name, (_, value, _) in VALUES.items()}])
    answers.write_csv(list(VALUES), rows)
    [read] = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert read == {name: text for name, (_, _, text) in VALUES.items()}


def test_no_rows_are_an_empty_array_and_a_header(capsys):
    answers.write_json(["title"], [])
    answers.write_csv(["title"], [])
    answers.write_table(["title"], [], "changes of level")
    assert capsys.readouterr().out == "[]\ntitle\nChanges of level: there are none\n"


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_programs_get_utf_8_whatever_the_terminal_takes(sample, option):
    result = run_ask("most played songs", option, PYTHONIOENCODING="ascii", how=run)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Żółty Liść" in result.stdout


def test_letters_that_the_terminal_lacks_end_no_table(sample):
    result = run_ask("most played songs", PYTHONIOENCODING="ascii", how=run)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\\u017b\\xf3\\u0142ty" in result.stdout


# SQL


def run_psql(sql, tmp_path):
    (tmp_path / "query.sql").write_text(sql, encoding="utf-8")
    stop = ["-v", "ON_ERROR_STOP=1", "--no-psqlrc"]
    return run("sparkify", "psql", "--csv", *stop, "-f", tmp_path / "query.sql", **HERE)


@pytest.mark.parametrize(
    "question",
    [
        [RECOMMEND, "--user-id", "15", "--limit", "5"],
        ["hours in which the service may have been down"],
    ],
)
def test_psql_takes_the_sql_and_answers_the_same(sample, tmp_path, question):
    sql = printed(*question, "--sql")
    assert sql.endswith(";\n")
    rows = list(csv.reader(io.StringIO(run_psql(sql, tmp_path).stdout)))
    ours = list(csv.reader(io.StringIO(printed(*question, "--csv"))))
    assert [list(map(as_psql_has_it, row)) for row in ours] == [
        list(map(as_psql_has_it, row)) for row in rows
    ]
    assert len(rows) > 5


def as_psql_has_it(text):
    try:
        return float(text)
    except ValueError:
        return {"True": "t", "False": "f"}.get(text, text.replace("T", " "))


@pytest.mark.parametrize("value", ["15' OR true --", "15\\' OR true --", "é"])
def test_a_value_stays_a_value_in_the_sql(sample, tmp_path, value):
    sql = printed("activity by hour", "--time-zone", value, "--sql")
    result = run_psql(sql, tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert f'time zone "{value}" not recognized' in result.stderr


def test_the_sql_needs_no_server():
    result = run_ask("1", "--sql", DATABASE_URL="postgresql://nobody@127.0.0.1:1/")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("-- One row: the period")


# Tables


def test_a_pipe_gets_all_rows_whole(sample):
    names, rows = fetch_rows(sample, "plays and users by metropolitan area")
    header, underline, *lines = without_legend(printed("metropolitan").splitlines())
    assert header.split() == names
    assert set(underline) == {"-", " "}
    assert [line.split("  ")[0] for line in lines] == [area or "" for area, *_ in rows]
    assert len(lines) > 24


def test_a_terminal_gets_the_first_rows_and_a_count_of_all(sample):
    _, rows = fetch_rows(sample, "plays and users by metropolitan area")
    *lines, last = without_legend(run_on_terminal(200, "metropolitan"))
    assert lines == printed("metropolitan").splitlines()[: 2 + 24]
    assert last == f"(the first 24 of {len(rows)} rows; --csv prints all)"


def test_a_terminal_gets_the_last_of_the_days(sample):
    *lines, last = without_legend(run_on_terminal(200, "plays, users and sessions by day"))
    whole = printed("plays, users and sessions by day").splitlines()
    assert lines[2:] == [line for line in whole if line.startswith("2018-11-")][-24:]
    assert last == "(the last 24 of 30 rows; --csv prints all)"


@pytest.mark.parametrize(
    ("question", "number"), [("most played songs", 10), ("activity by hour", 24)]
)
def test_a_terminal_gets_short_answers_whole(sample, question, number):
    *lines, last = without_legend(run_on_terminal(200, *question.split()))
    assert lines == without_legend(printed(question).splitlines())
    assert last == f"({number} rows)"


def test_a_row_too_wide_for_the_terminal_stands_a_column_a_line(sample):
    names, [row] = fetch_rows(sample, "key figures")
    lines = run_on_terminal(60, "key figures")
    assert [line.split() for line in lines[: len(names)]] == [
        [name, str(value)] for name, value in zip(names, row, strict=True)
    ]


NAMES = ["title", "plays", "share", "heard", "at"]
ROWS = [
    ["日本の歌がとても長い題名", 12, 0.5, True, datetime(2018, 11, 1, 21, 1, 46, 796000, UTC)],
    ["a\nb\x1b[31m\u2028\ufffd", None, 0.14285714, None, None],
    ["007", 1234, None, False, datetime(2018, 11, 1, 21, 1, 46)],
]


def test_a_table_is_aligned_and_spells_what_is_not_drawn_or_moves_the_cursor(capsys):
    assert answers.print_lines(NAMES, ROWS) == []
    assert capsys.readouterr().out.splitlines() == [
        "title                     plays   share  heard  at",
        "------------------------  -----  ------  -----  -------------------------",
        "日本の歌がとても長い題名     12  0.5000  true   2018-11-01 21:01:46+00:00",
        r"a\nb\x1b[31m\u2028\ufffd         0.1429",
        "007                        1234          false  2018-11-01 21:01:46",
    ]


def test_texts_are_cut_where_the_terminal_is_narrow_and_figures_are_left_out_whole(capsys):
    assert answers.print_lines(NAMES, ROWS, room=64) == ["texts cut"]
    assert capsys.readouterr().out.splitlines() == [
        "title            plays   share  heard  at",
        "---------------  -----  ------  -----  -------------------------",
        "日本の歌がとて…     12  0.5000  true   2018-11-01 21:01:46+00:00",
        r"a\nb\x1b[31m\u…         0.1429",
        "007               1234          false  2018-11-01 21:01:46",
    ]
    assert answers.print_lines(NAMES, ROWS, room=40) == ["texts cut", "without at"]
    assert capsys.readouterr().out.splitlines()[2] == "日本の歌がとても …     12  0.5000  true"


def test_few_rows_that_would_be_cut_stand_a_column_a_line(capsys):
    answers.print_on_terminal(NAMES, ROWS[:2], 40)
    assert capsys.readouterr().out.splitlines() == [
        "title  日本の歌がとても長い題名",
        "plays  12",
        "share  0.5000",
        "heard  true",
        "at     2018-11-01 21:01:46+00:00",
        "",
        r"title  a\nb\x1b[31m\u2028\ufffd",
        "plays",
        "share  0.1429",
        "heard",
        "at",
    ]


def test_what_is_cut_is_said(capsys):
    answers.print_on_terminal(NAMES, ROWS * 10, 40)
    said = "(the first 24 of 30 rows, texts cut, without at; --csv prints all)"
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_columns_are_explained_where_they_appear(capsys, monkeypatch):
    legends = {"plays": "what users began to play", "users": "who played"}
    monkeypatch.setattr(answers, "LEGENDS", legends)
    answers.write_table(["title", "plays"], [["Slow River", 2]])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "Slow River      2",
        "",
        "plays: what users began to play",
    ]


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_table_is_no_wider_than_the_terminal(sample, columns):
    lines = run_on_terminal(columns, "changes of level")
    [last] = [line for line in lines if re.match(r"\(.*; --csv prints all\)", line)]
    table = lines[: lines.index(last)]
    assert max(map(len, table)) <= columns
    assert ("texts cut" in last) == any("…" in line for line in table)
    assert "texts cut" in last or "without" in last


def test_a_reader_that_has_enough_is_no_error(sample):
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, *script_of("sparkify"), "ask", "metropolitan"]
    result = subprocess.run(
        command, cwd=PROJECT, env=environment_of(**HERE), stdout=writes, stderr=subprocess.PIPE
    )
    os.close(writes)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_is_told_in_one_line(sample):
    command = [sys.executable, *script_of("sparkify"), "ask", "1", "--csv"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, cwd=PROJECT, env=environment_of(**HERE), stdout=full, stderr=subprocess.PIPE
        )
    said = b"sparkify: can't write the output: No space left on device\n"
    assert (result.returncode, result.stderr) == (1, said)


# Without data: from here on, the sample is gone


def test_titles_in_other_scripts_reach_the_terminal(conn, tmp_path):
    folder = write_data(tmp_path, [song(title="雨の歌", year=0)], [event(song="Other")])
    load_data(conn.cursor(), conn, folder)
    assert run_on_terminal(80, "nobody plays") == [
        "song_id  title   artist        year",
        "-------  ------  ------------  ----",
        "SO1      雨の歌  The Ferrymen",
        "(1 row)",
    ]


def test_a_question_behind_somebodys_lock_says_whose_it_is(conn, cur, tmp_path, monkeypatch):
    load_data(cur, conn, write_data(tmp_path, [song()], [event()]))
    cur.execute("LOCK TABLE songplays")
    said = []
    with contextlib.closing(connection.connect()) as ours:
        pid = conn.info.backend_pid
        monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.05)
        monkeypatch.setattr(watchdog, "complain", lambda text: said.append(text) or conn.rollback())
        monkeypatch.setattr(connection, "connect", lambda: ours)
        names, rows = ask.fetch_answer("key figures", {})
    assert len(rows) == 1
    assert [text.partition(" (")[0] for text in said] == [f"waiting for session {pid}"]
    assert f"pg_terminate_backend({pid})" in said[0]


def test_empty_tables_say_what_to_run(conn):
    assert_fails_in_one_line(run_ask("1"), "no events yet", f"run {command('etl.py')}")


def test_missing_tables_say_what_to_run(conn):
    with conn, conn.cursor() as cur:
        cur.execute("DROP TABLE page_views")
    assert_fails_in_one_line(run_ask("1"), "page_views", f"run {command('create_tables.py')}")


def test_a_server_that_cannot_be_reached_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"postgresql://nobody@127.0.0.1:{port}/"
    assert_fails_in_one_line(run_ask("1", DATABASE_URL=url), f"127.0.0.1:{port}", "DATABASE_URL")
