#!/usr/bin/env bash
# papermill 2.7.0. Tried in November 2026.
#
# Expected: -p gives a notebook the text that was typed, or a number where JSON or
# Python's source would have one; and what papermill writes is a notebook, that is, JSON.
#
# Seen: all that float() or int() takes becomes a number: the title Infinity, the
# name Nan, the title 1_000. For the first two, the notebook written holds Infinity
# and NaN as bare words among its metadata: Python's json reads that file, other
# readers (here orjson) refuse it. And false, as a shell or JSON writes it, stays a
# text, so it counts as true.
#
# It matters because a report of one artist or song takes its name as a parameter:
# use -r for texts, and -y for true and false.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet papermill==2.7.0 orjson==3.13.0

cat >"$folder/expected" <<'END'
-p title Infinity: inf, no JSON: unexpected character
-p title Nan: nan, no JSON: unexpected character
-p title 1_000: 1000, JSON
-p title false: 'false', JSON
-r title Infinity: 'Infinity', JSON
-r title 1_000: '1_000', JSON
END
cat >"$folder/report.ipynb" <<'END'
{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}, "cells": [{"id": "a", "cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": [], "execution_count": null, "source": "title = None"}]}
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import json
import subprocess
import sys

import orjson

notebook, out = sys.argv[1] + "/report.ipynb", sys.argv[1] + "/out.ipynb"
for option, title in (("-p", "Infinity"), ("-p", "Nan"), ("-p", "1_000"), ("-p", "false"), ("-r", "Infinity"), ("-r", "1_000")):
    command = [sys.executable, "-m", "papermill", "--prepare-only", notebook, out, option, "title", title]
    subprocess.run(command, check=True, capture_output=True)
    with open(out) as file:
        text = file.read()
    cells = json.loads(text)["cells"]
    values = {}
    exec("".join(next(cell["source"] for cell in cells if "injected-parameters" in cell["metadata"]["tags"])), values)
    try:
        orjson.loads(text)
        kind = "JSON"
    except ValueError as error:
        kind = f"no JSON: {str(error).split(',')[0]}"
    print(f"{option} title {title}: {values['title']!r}, {kind}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: papermill makes another value of one of the titles" >&2
    exit 1
fi
echo "seen as stated"
