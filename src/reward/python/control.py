# How an interpreter in a sandbox talks with its worker: socket 3, frames of a 4-byte little-endian length, a letter
# and bytes; descriptors travel along.

import posix
import sys

import _socket

CONTROL = 3


def read_frame(channel):
    """Letter, bytes and descriptors of the next frame; ends the process when the worker is gone."""
    data, fds, need = b"", [], 4
    while len(data) < need:
        part, extra, _, _ = channel.recvmsg(need - len(data), 64)
        if not part:
            posix._exit(0)
        data += part
        for _, _, numbers in extra:
            fds += [int.from_bytes(numbers[i : i + 4], sys.byteorder) for i in range(0, len(numbers), 4)]
        if len(data) >= 4:
            need = 4 + int.from_bytes(data[:4], "little")
    return chr(data[4]), data[5:], fds


def write_frame(channel, letter, data):
    data = letter + data
    channel.sendall(len(data).to_bytes(4, "little") + data)
