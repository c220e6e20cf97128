"""What the scripts are made of, by folder.

read/      files in, rows out, knowing no database: files (which of them are data, what becomes of
           them), storage and object_store (where DATA is), raw (their bytes: lines, documents,
           .gz), fields (what is read of a line), extract (parses lines, and has the rules for
           them), lines (the odd ones, one by one), transform (makes rows of records), copy_format
           (rows as COPY takes them), blocks (files read together, by whom), cluster (Dask),
           versions (of its libraries)
load/      rows into tables: by_rows, matching (plays find songs that are loaded, or renamed, after
           them), by_copy, staging (COPY's SQL), constraints (keys that COPY drops and restores)
postgres/  connection (which server, and to it), url (DATABASE_URL), rights (whose the tables are),
           transactions, locks, watchdog (a connection in use), embedded (the server that starts by
           itself), programs (initdb and its like), claims (on a data folder), psql (and pg_dump),
           serve (the tables, at a port), relay (that port)
run/       a run of etl.py: arguments, progress, rejects (lines set aside), summary (what it says),
           history (of runs); nightly (the command: a run, the checks, the report)
checks/    rules (a query each), check (that the tables keep them), freshness (how new the data are)
analysis/  questions/ (their SQL), ask, time_zones (their names), answers (as tables), findings
           (what stands out), charts, pictures, schema_picture, notebook (what test.ipynb shows),
           html_report (the command report)

Beside the folders: __main__ (python -m sparkify COMMAND), errors, messages, interrupts (Ctrl-C and
its like), interpreter (the Python that runs), waiting (for other machines), replacing (files, as a
whole), data_dictionary (the tables' comments).

No module of read/ imports load/ or postgres/, and none but __main__ imports the scripts.
"""
