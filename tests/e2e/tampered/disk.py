"""A disk that changes between two reads: a network block device (NBD) that is honest until each of
its blocks has been read once, and shows every block with one bit changed from then on.

Says `ready` when it can be connected to, `changed` when it shows its other face, and ends with its
only connection.

usage: disk.py IMAGE SOCKET

The protocol: NetworkBlockDevice/nbd, doc/proto.md, fixed newstyle negotiation; numbers big-endian.
"""

import os
import socket
import struct
import sys

OPTION, OPTION_REPLY = b"IHAVEOPT", 0x3E889045565A9
EXPORT_NAME_GO, REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 7, 1, 3, 0x80000001
REQUEST, SIMPLE_REPLY = 0x25609513, 0x67446698
READ, DISCONNECT, INVALID = 0, 2, 22
BLOCK = 4096


def take(stream, length):
    """Exactly so many bytes."""
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def negotiate(stream, size):
    """Agrees on the only export; whatever else is asked for is not supported."""
    stream.sendall(b"NBDMAGIC" + OPTION + struct.pack(">H", 3))
    take(stream, 4)
    while True:
        magic, option, length = struct.unpack(">8sII", take(stream, 16))
        if magic != OPTION:
            sys.exit("not the protocol")
        take(stream, length)

        def reply(kind, data=b""):
            stream.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)

        if option == EXPORT_NAME_GO:
            # Information 0: the size, and that there are flags, of which "read-only" is set.
            reply(REPLY_INFO, struct.pack(">HQH", 0, size, 3))
            reply(REPLY_ACK)
            return
        reply(REPLY_UNSUPPORTED)


def serve(stream, image):
    """Answers reads until the machine ends."""
    unread = set(range(len(image) // BLOCK))
    while True:
        magic, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", take(stream, 28))
        if magic != REQUEST:
            sys.exit("not the protocol")
        if kind == DISCONNECT:
            return
        if kind != READ or offset + length > len(image):
            stream.sendall(struct.pack(">IIQ", SIMPLE_REPLY, INVALID, cookie))
            continue
        data = bytearray(image[offset : offset + length])
        if unread:
            unread.difference_update(range(offset // BLOCK, -(-(offset + length) // BLOCK)))
            if not unread:
                print("changed", flush=True)
        else:
            for at in range(0, length, BLOCK):
                data[at] ^= 1
        stream.sendall(struct.pack(">IIQ", SIMPLE_REPLY, 0, cookie) + data)


def main():
    """One machine."""
    path, name = sys.argv[1:]
    with open(path, "rb") as file:
        image = file.read()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen(1)
    print("ready", flush=True)
    stream, _ = listener.accept()
    os.unlink(name)
    negotiate(stream, len(image))
    serve(stream, image)


main()
