"""What ends a script or command, in one line."""


class ServerError(Exception):
    """What keeps a script from the database: one line that names the server and the remedy."""


class TablesEmpty(ServerError):
    """The tables are there, what is asked about isn't yet."""


class LoadError(Exception):
    """What ends a run, in one line that names the file."""


class WrongArguments(Exception):
    """What is wrong with a script's or command's arguments, such as DATA, in one line."""
