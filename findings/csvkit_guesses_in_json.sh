#!/usr/bin/env bash
# csvkit 2.2.0 with agate 1.14.2 and parsedatetime 2.6: in2csv -f ndjson. Tried in
# November 2026.
#
# Expected: JSON says what is a number and what is text, so numbers stay numbers,
# and words stay words.
#
# Seen: in2csv guesses types of what JSON had typed. A column of the numbers 0 and
# 1 becomes False and True. Titles that are words for days become days, of the
# first year of the calendar: "Today" is 0001-01-01, "Monday" is 0001-01-08. "No"
# and "Yes" are False and True, and "NA" is nothing. With -I all stay but the last.
#
# It matters because small files show it and large ones do not: a file whose
# sessions have two events each has itemInSession in booleans, which COPY refuses
# for an integer column.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet csvkit==2.2.0 agate==1.14.2 parsedatetime==2.6

cat >"$folder/expected" <<'END'
itemInSession,song,artist,location
False,0001-01-01,False,
True,0001-01-08,True,
itemInSession,song,artist,location
0,Today,No,
1,Monday,Yes,
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import json
import subprocess
import sys

events = [
    {"itemInSession": 0, "song": "Today", "artist": "No", "location": "NA"},
    {"itemInSession": 1, "song": "Monday", "artist": "Yes", "location": "N/A"},
]
path = sys.argv[1] + "/events.json"
with open(path, "w") as file:
    file.writelines(json.dumps(event) + "\n" for event in events)
for options in ([], ["-I"]):
    command = [sys.executable, "-m", "csvkit.utilities.in2csv", "-f", "ndjson", *options, path]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: in2csv guesses other types" >&2
    exit 1
fi
echo "seen as stated"
