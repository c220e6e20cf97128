#!/usr/bin/env bash
# DataFusion 55.0.0 (its Python package). Tried in November 2026.
#
# Expected: a sum of bigints that no bigint holds is an error, or a wider number, as
# it is in Postgres, DuckDB and SQLite.
#
# Seen: it starts again from below: sum(), a sum over a window and + are negative,
# without a warning; avg() of the same column is right.
#
# It matters because times in nanoseconds leave room for five in a sum: a mean that
# is written as sum / count lies before 1970.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datafusion==55.0.0 pyarrow==26.0.1

cat >"$folder/expected" <<'END'
sum -9200012464933551616
of two -18
window [9223372036854775800, -15]
avg 1.541121934796e+18
END
"$folder/venv/bin/python" - >"$folder/seen" <<'END' || true # the comparison tells
import datafusion

context = datafusion.SessionContext()


def run(expression, *values):
    """Return a column that DataFusion calculates from values of type bigint."""
    rows = ", ".join(f"({value})" for value in values)
    return context.sql(f"SELECT {expression} AS result FROM (VALUES {rows}) AS events (ts)").to_pydict()["result"]


six = [1541121934796000000] * 6
print("sum", *run("sum(ts)", *six))
print("of two", *run("ts + ts", 9223372036854775799))
print("window", run("sum(ts) OVER (ORDER BY ts)", 9223372036854775800, 9223372036854775801))
print("avg", *run("avg(ts)", *six))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: DataFusion adds bigints in another way" >&2
    exit 1
fi
echo "seen as stated"
