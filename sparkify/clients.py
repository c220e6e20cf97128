"""Postgres's own programs, run on Sparkify's database: psql, pg_dump, pg_restore."""

import os
import shutil
import signal
import subprocess

from psycopg2.extensions import make_dsn

from sparkify import embedded, server


def run_client(tool, arguments):
    """Run a program with its own arguments and return its exit status. Raises ServerError."""
    server.connect().close()
    command, environment = client_command(tool, server.server_parameters(), arguments)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's: it cancels the query
    return subprocess.run(command, env=environment).returncode


def client_command(tool, parameters, arguments):
    """Return a program's command line and environment, which is where a password goes."""
    path = shutil.which(tool)
    if path is None or server.uses_embedded_server():
        path = str(embedded.import_pgserver().utils.POSTGRES_VERSIONS[18] / tool)
    public = {key: value for key, value in parameters.items() if key != "password"}
    secret = {"PGPASSWORD": parameters["password"]} if "password" in parameters else {}
    zone = {"PGTZ": server.TIME_ZONE}
    return [path, "--dbname", make_dsn(**public), *arguments], os.environ | zone | secret
