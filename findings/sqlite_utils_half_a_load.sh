#!/usr/bin/env bash
# sqlite-utils 4.2.1: insert --nl. Tried in November 2026.
#
# Expected: a failed insert leaves nothing behind; and a key that later lines have
# either fails or not, wherever it comes first.
#
# Seen: a key that is new within the first 100 lines becomes a column; on line 101
# it is an error. The 100 lines before it are stored, and stay.
#
# It matters because the file is then half loaded, and loading it again, with
# --alter as the error advises, stores the first 100 events a second time.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlite-utils==4.2.1

cat >"$folder/expected" <<'END'
early exit 0
early rows 100
late exit 1 Error: table late has no column named song
late rows 100
late exit 0
late rows 201
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import json
import sqlite3
import subprocess
import sys


def insert(table, lines_before, *options):
    """Insert lines of which the last has one more key, and print what came of it."""
    lines = [{"page": "Home"}] * lines_before + [{"page": "NextSong", "song": "Borrow Me"}]
    result = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", "insert", database, table, "-", "--nl", *options],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
    )
    print(table, "exit", result.returncode, *result.stderr.splitlines()[:1])
    print(table, "rows", sqlite3.connect(database).execute(f"SELECT count(*) FROM {table}").fetchone()[0])


database = sys.argv[1] + "/events.db"
insert("early", 99)
insert("late", 100)
insert("late", 100, "--alter")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: sqlite-utils treats a key that comes late in another way" >&2
    exit 1
fi
echo "seen as stated"
