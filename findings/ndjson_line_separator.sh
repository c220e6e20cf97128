#!/usr/bin/env bash
# ndjson 0.3.1 (PyPI). Tried in November 2026.
#
# Expected: U+2028, U+0085 and their like may stand in a JSON text as they are;
# only a line feed ends a line of NDJSON.
#
# Seen: the package splits by str.splitlines, for which they end a line, and joins
# the lines with commas to one array. So each of them becomes a comma within the
# text, and no error is raised: the count of events is right, a title is not.
# jsonlines 4.0.0 keeps them.
#
# It matters because user agents and titles that were copied from web pages hold
# U+2028, and a changed title no longer finds its song.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ndjson==0.3.1 jsonlines==4.0.0

cat >"$folder/expected" <<'END'
written   'Borrow\u2028Me' 'to\x85the' 'Valley'
ndjson    'Borrow,Me' 'to,the' 'Valley'
jsonlines 'Borrow\u2028Me' 'to\x85the' 'Valley'
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io
import json

import jsonlines
import ndjson

songs = ["Borrow\u2028Me", "to\u0085the", "Valley"]
text = "".join(json.dumps({"song": song}, ensure_ascii=False) + "\n" for song in songs)
print("written  ", *(ascii(song) for song in songs))
print("ndjson   ", *(ascii(event["song"]) for event in ndjson.loads(text)))
print("jsonlines", *(ascii(event["song"]) for event in jsonlines.Reader(io.StringIO(text))))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: ndjson or jsonlines treats U+2028 or U+0085 in another way" >&2
    exit 1
fi
echo "seen as stated"
