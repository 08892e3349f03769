"""A network namespace in which every way out leads to a canary: what a command sends, and to whom.

    python -m benchmarks.hostile.outside PORT COMMAND...

runs the command there and prints one JSON object: its `status`; `packets` that would have left the machine, as
"udp 10.0.0.1:53"; and `requests`, connections to PORT on loopback and questions to a name server there. Status 77: this
system makes no such namespace. Needs Linux, /dev/net/tun, the program `ip` and the right to use them.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

CLONE_NEWNET = 0x40000000
# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp"}
HOUSEKEEPING = (2, 58, 0)
"""Group membership and neighbours, which the kernel itself looks after: IGMP, ICMPv6 and IPv6's hop-by-hop options."""
UNABLE = 77
SETTLE_S = 0.5
"""For what was sent last to arrive."""


def main() -> None:
    port, command = int(sys.argv[1]), sys.argv[2:]
    try:
        tunnel = _alone()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no network namespace here: {error}", file=sys.stderr)
        sys.exit(UNABLE)
    packets: list[str] = []
    requests: list[str] = []
    _watch(lambda: packets.extend(filter(None, [_named(os.read(tunnel, 65536))])))
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("", 53))
    _watch(lambda: requests.append(f"name server: {names.recvfrom(4096)[0][12:60]!r}"))
    door = socket.create_server(("127.0.0.1", port))
    _watch(lambda: _answer(door, requests))
    status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    threading.Event().wait(SETTLE_S)
    print(json.dumps({"status": status, "packets": packets, "requests": requests}))


def _alone() -> int:
    """Moves this process into a namespace whose default route is a tunnel, and gives the tunnel's descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH22x", b"out", IFF_TUN | IFF_NO_PI))
    for line in (
        "link set lo up",
        "addr add 198.51.100.7/24 dev out",
        "link set out up",
        "route add default dev out",
        "-6 addr add 2001:db8::7/64 dev out",
        "-6 route add default dev out",
    ):
        subprocess.run(["ip", *line.split()], check=not line.startswith("-6"), capture_output=True)
    return tunnel


def _watch(step: Callable[[], None]) -> None:
    def forever() -> None:
        while True:
            step()

    threading.Thread(target=forever, daemon=True).start()


def _answer(door: socket.socket, requests: list[str]) -> None:
    caller, _ = door.accept()
    with caller:
        caller.settimeout(1.0)
        try:
            requests.append(f"door: {caller.recv(200)!r}")
        except OSError:
            requests.append("door: nothing said")


def _named(packet: bytes) -> str | None:
    """Protocol, address and port that a packet is for; None for the kernel's own housekeeping."""
    if packet[0] >> 4 == 4:
        protocol, to, rest = packet[9], packet[16:20], packet[(packet[0] & 15) * 4 :]
    else:
        protocol, to, rest = packet[6], packet[24:40], packet[40:]
    if protocol in HOUSEKEEPING:
        return None
    port = int.from_bytes(rest[2:4], "big")
    return f"{PROTOCOLS.get(protocol, protocol)} {ipaddress.ip_address(to)}:{port}"


if __name__ == "__main__":
    main()
