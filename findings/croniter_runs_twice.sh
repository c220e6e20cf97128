#!/usr/bin/env bash
# croniter 7.0.0. Tried in November 2026.
#
# Expected: a job at 02:30 in Berlin is due once a night, also when the clock is set
# back from 03:00 to 02:00 in October and the hour comes twice: the cron of Debian runs
# what has a fixed time once.
#
# Seen: it is due twice that night, an hour apart. (In March, when there is no 02:30, it
# is due at 03:00, as by cron.)
#
# It matters because schedulers in Python take their times from croniter: a nightly
# load runs twice that night. What isn't made for that counts its plays twice.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet croniter==7.0.0 tzdata

cat >"$folder/expected" <<'END'
March: 28 02:30+0100, 29 03:00+0200, 30 02:30+0200
October: 24 02:30+0200, 25 02:30+0200, 25 02:30+0100
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import datetime
import zoneinfo

import croniter

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
for month, start in {"March": (2026, 3, 27, 12), "October": (2026, 10, 23, 12)}.items():
    times = croniter.croniter("30 2 * * *", datetime.datetime(*start, tzinfo=BERLIN))
    due = [times.get_next(datetime.datetime) for _ in range(3)]
    print(f"{month}:", ", ".join(f"{time:%d %H:%M}{time:%z}" for time in due))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: croniter has the job due at other times" >&2
    exit 1
fi
echo "seen as stated"
