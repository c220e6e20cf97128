#!/usr/bin/env bash
# petl 1.7.30: fromjson(lines=True). Tried in November 2026.
#
# Expected: the columns are all keys that occur, as fromjson gives them for the
# same objects in one JSON array.
#
# Seen: of lines only the first one's keys become columns. What later lines have
# beside these is left out, without a word.
#
# It matters because a log of this kind leaves out keys that have no value: a file
# that begins with a page view, and most do, has no artist, song or length.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet petl==1.7.30

cat >"$folder/expected" <<'END'
lines ('page', 'level') ('Home', 'free') ('NextSong', 'free')
array ('page', 'level', 'song') ('Home', 'free', None) ('NextSong', 'free', 'Borrow Me')
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import json
import sys

import petl

events = [{"page": "Home", "level": "free"}, {"page": "NextSong", "level": "free", "song": "Borrow Me"}]
lines, array = sys.argv[1] + "/lines.json", sys.argv[1] + "/array.json"
with open(lines, "w") as file:
    file.writelines(json.dumps(event) + "\n" for event in events)
with open(array, "w") as file:
    json.dump(events, file)
print("lines", *petl.fromjson(lines, lines=True))
print("array", *petl.fromjson(array))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: petl takes other columns from JSON lines" >&2
    exit 1
fi
echo "seen as stated"
