"""Lets every connection of schemathesis come from another address of this machine: of each address, wrong passwords are answered later
and later, and some checks send one to every endpoint."""

from itertools import count

from urllib3.connection import HTTPConnection

NUMBERS = count(1)
CONNECT = HTTPConnection._new_conn


def connect_from_another_address(connection):
    number = next(NUMBERS)
    connection.source_address = (f"127.1.{number // 250}.{number % 250 + 1}", 0)
    return CONNECT(connection)


HTTPConnection._new_conn = connect_from_another_address
