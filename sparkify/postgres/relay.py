"""A TCP port of this machine that leads one user to one database of a Postgres server.

The server itself goes on listening on no network. However this process ends, the port closes with
it, and there is no setting that could stay behind.

What a client asks for is not passed on but written anew, for the user that may come in: the server
reads nothing at the start of a connection that was not checked here.
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import contextlib
import os
import socket
import socketserver
import struct
import threading

HOST = "127.0.0.1"
PROTOCOL = 3  # the only major version there is since Postgres 7.4
CANCEL, ENCRYPT_TLS, ENCRYPT_GSS = 80877102, 80877103, 80877104  # in place of a version
# What each session has, whatever its client asks for. pgJDBC asks for the computer's time zone, in
# which start_time would disagree with hour, day and weekday. Once a client is gone, its query is to
# end (a server on Windows can't tell, and refuses).
SETTINGS = {b"TimeZone": b"UTC"}
if os.name != "nt":
    SETTINGS[b"client_connection_check_interval"] = b"200ms"
LONGEST_START = 10_000  # bytes, as the server has it
START_SECONDS = 60  # for a client to say who it is
CHUNK = 1 << 16
INVALID_AUTHORIZATION, CANNOT_CONNECT = "28000", "57P03"  # of Postgres's error codes


class Refused(Exception):
    """Why a client is not let in, as an error code of Postgres and a line."""


class Relay(socketserver.ThreadingTCPServer):
    """The open port: a thread for each client. Raises OSError where it can't be had."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # there it would share the port with another program
    request_queue_size = 64

    def __init__(self, port, address, user, database):
        self.address, self.user, self.database = address, user, database
        super().__init__((HOST, port), Client)


class Client(socketserver.BaseRequestHandler):
    """A connection of a client, led to the server if user and database are the right ones."""

    def handle(self):
        with contextlib.suppress(OSError):
            try:
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                self.request.settimeout(START_SECONDS)
                start = read_start(self.request, self.server.user, self.server.database)
                self.request.settimeout(None)
                with connect(self.server.address) as server:
                    server.sendall(start)
                    carry_both_ways(self.request, server)
            except Refused as error:
                self.request.sendall(error_message(*error.args))


def connect(address):
    """Return a connection to the server: by its socket's path or by (host, port)."""
    try:
        if isinstance(address, tuple):
            return socket.create_connection(address)
        server = socket.socket(socket.AF_UNIX)
        server.connect(address)
        return server
    except OSError:
        raise Refused(CANNOT_CONNECT, "the server has ended; run serve again") from None


def read_start(client, user, database):
    """Return what is to begin a client's connection: its wishes, or the wish to cancel a query.

    Raises Refused where it asks for another user or database, or is no Postgres client.
    """
    while True:
        length, code = struct.unpack("!II", receive(client, 8))
        if not 8 <= length <= LONGEST_START:
            raise Refused(INVALID_AUTHORIZATION, "only Postgres clients are served here")
        body = receive(client, length - 8)
        if code not in (ENCRYPT_TLS, ENCRYPT_GSS):
            break
        client.sendall(b"N")  # nothing leaves this machine; most clients go on without
    if code == CANCEL:  # it holds a secret that the server gave to the session's own client
        return struct.pack("!II", length, code) + body
    if code >> 16 != PROTOCOL:
        raise Refused(INVALID_AUTHORIZATION, "only clients of protocol 3 are served here")
    wishes = parse_wishes(body)
    for name, served in (("user", user), ("database", database)):
        if wishes.get(name.encode()) != served.encode():
            raise Refused(INVALID_AUTHORIZATION, f"only the {name} {served} is served here")
    return write_start(code, settle(wishes))


def parse_wishes(body):
    """Return what a client asks for, such as the database, by name: pairs of texts end at zeros."""
    words = iter(body.split(b"\0"))
    wishes = {}
    while name := next(words, b""):
        wishes[name] = next(words, b"")
    return wishes


def settle(wishes):
    """Return a client's wishes, but with our SETTINGS, however it spells their names."""
    names = {name.lower() for name in SETTINGS}
    return {name: wish for name, wish in wishes.items() if name.lower() not in names} | SETTINGS


def write_start(code, wishes):
    """Return the message that begins a connection."""
    words = [word for pair in wishes.items() for word in pair]
    body = b"".join(word + b"\0" for word in words) + b"\0"
    return struct.pack("!II", 8 + len(body), code) + body


def receive(client, size):
    """Return so many bytes of what a client sends. Raises OSError where it ends before."""
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def carry_both_ways(client, server):
    """Carry bytes to and fro until either side ends."""
    thread = threading.Thread(target=carry, args=(client, server), daemon=True)
    thread.start()
    carry(server, client)
    thread.join()


def carry(source, target):
    """Carry what one side sends to the other, and end both after it."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    for side in (source, target):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def error_message(code, text):
    """Return the message by which a server refuses a connection."""
    fields = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!I", 4 + len(fields)) + fields
