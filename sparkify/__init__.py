"""What the scripts are made of: a room a noun, each importing only from floors below its own.

top      __main__: python -m sparkify
5        readers (this process, threads or a cluster), bulk (load by COPY), checks, page, charts
4        blocks (files read about 16 MB at a time), constraints, report, clients, serve, ask
3        encode (for COPY), load (row by row), rejects (lines set aside), locks, server
2        transform, shared (storage such as S3), storage (where DATA is), rules, questions,
         answers (as they are written)
1        files, extract, cluster, comments, messages, embedded (its server), relay (a port to it)
ground   interpreter (the Python that runs: will it do?)

A line of JSON: files lists its File, blocks reads it in a Block with others, extract parses it (or
makes a Reject of it, for rejects), transform makes rows of it, and load inserts them; or encode and
bulk COPY them. report adds what became of a file, its Outcome, up in a Tally, and tells.
"""
