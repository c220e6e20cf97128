"""What the scripts are made of: a room a noun, each importing only from floors below its own.

7        deferred (the rooms that etl.py imports only if there is something to load)
6        bulk (load by COPY), __main__: python -m sparkify
5        arguments (of etl.py), report (what a run says), page (the answers as HTML)
4        readers (threads or a cluster), rejects (lines set aside), ask, serve, clients (psql),
         watch (a connection in use)
3        storage (where DATA is), blocks (of files, read together), constraints, server
2        shared (such as S3), encode (for COPY), cluster, checks, answers, locks, embedded,
         load (row by row), pictures (of answers), diagram (of the schema),
         notebook (what test.ipynb shows)
1        files, extract, transform, staging (for COPY), rules, questions, charts,
         comments (the data dictionary), relay (a port to the embedded server),
         programs (of the embedded server), claims (on its data folder),
         interpreter (the Python that runs: will it do?), interrupts (Ctrl-C and its like),
         progress (what is shown during a load),
         patience (with other machines), versions (of their libraries)
0        messages

A line of JSON: files lists its File, blocks reads it in a Block with others, extract parses it (or
makes a Reject of it, for rejects), transform makes rows of it, and load inserts them; or encode and
bulk COPY them. report adds what became of a file, its Outcome, up in a Tally, and tells.
"""
