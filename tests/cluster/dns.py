"""Questions to the cluster's name server (RFC 1035): addresses, and the SRV records of a headless Service."""

import socket
import struct

A, SRV = 1, 33


def lookup(server, name, kind):
    """A list of addresses, or of (target, port). Raises OSError when the server is silent."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    query = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!x2H", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((server, 53))  # connected: a closed port is an error at once
        client.send(query)
        answer = client.recv(4096)
    found, at = [], len(query)
    for _ in range(struct.unpack_from("!H", answer, 6)[0]):
        _, at = read_name(answer, at)
        record, _, _, length = struct.unpack_from("!2HIH", answer, at)
        at += 10
        if record == kind == A:
            found.append(socket.inet_ntoa(answer[at : at + 4]))
        elif record == kind == SRV:
            port = struct.unpack_from("!H", answer, at + 4)[0]
            found.append((read_name(answer, at + 6)[0], port))
        at += length
    return sorted(found)


def read_name(message, at):
    """A name at `at` of a DNS message (RFC 1035, 4.1.4): the name, and where the next field starts."""
    labels = []
    while length := message[at]:
        if length >= 0xC0:
            target = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            return ".".join([*labels, read_name(message, target)[0]]), at + 2
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1
