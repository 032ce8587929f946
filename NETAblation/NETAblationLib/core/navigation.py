"""Trajectories to a navigation system over OpenIGTLink, protocol version 2 (http://openigtlink.org).

The four kinds of message that are sent are short, so they are packed here: the usual package for
that, pyigtl, lacks the one for trajectories, and needs a compiler to be installed. In this order,
all in RAS mm:

- TRAJ, the standard's message for planned trajectories: each with its entry and its target;
- POINT: the entries and the tips, for systems that take points only;
- one TRANSFORM for each probe: the pose of its tip, the third axis along the shaft from entry to
  tip, the first as near to the patient's right as that allows;
- STRING: the whole table as JSON, with the numbers to the last bit (the others are 32-bit floats).

Messages bear the names of the probes and nothing of the patient.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from .errors import ComputationError, InputError
from .trajectories import Trajectory

FloatArray = npt.NDArray[np.float64]

#: The port that OpenIGTLink is registered for.
DEFAULT_PORT = 18944

#: How long a navigation system may take to answer, in s. User-set.
_TIMEOUT_S = 5.0
#: How long the line is kept open after the last message, in s. User-set.
_LINGER_S = 0.5
#: Name under which the messages on the whole plan come.
_PLAN_NAME = "NETAblation"
#: Color of trajectories and points, red, green, blue and opacity. User-set.
_RGBA = (255, 255, 0, 255)
#: Version, kind, name, seconds, fraction of a second, length of the body, CRC: all numbers are big-endian.
_HEADER = struct.Struct("> H 12s 20s I I Q Q")
_HEADER_VERSION = 1
#: An element of TRAJ: name, group, type, reserved, color, entry, target, radius, owner.
_TRAJECTORY = struct.Struct("> 64s 32s b b 4B 3f 3f f 20s")
_ENTRY_AND_TARGET = 3
#: An element of POINT: name, group, color, place, diameter, owner.
_POINT = struct.Struct("> 64s 32s 4B 3f f 20s")
#: TRANSFORM: the upper three rows of the matrix, column by column.
_TRANSFORM = struct.Struct("> 12f")
#: Before the text of STRING: its character set (MIB number of US-ASCII) and its length in bytes.
_TEXT, _ASCII, _MAX_TEXT = struct.Struct("> H H"), 3, 65_535
#: The polynomial of the CRC of a body: ECMA-182, most significant bit first, from 0.
_CRC_POLYNOMIAL = 0x42F0E1EBA9EA3693


def parse_address(text: str) -> tuple[str, int]:
    """HOST or HOST:PORT (an IPv6 host in brackets) as host and port; raises InputError."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(?::(\d{1,5}))?", text.strip())
    port = DEFAULT_PORT if match is None or match[2] is None else int(match[2])
    if match is None or not 0 < port <= 65_535:
        raise InputError(f"'{text}' is no address of a navigation system: give HOST:PORT, such as localhost:18944")
    return match[1].strip("[]"), port


def tip_pose(trajectory: Trajectory) -> FloatArray:
    """The (4, 4) matrix of the tip in RAS mm: a right-handed frame whose third axis runs from entry to tip.

    The first axis is as near to the patient's right as that allows, or to anterior where the probe
    itself runs along right and left.
    """
    along = trajectory.direction
    near = np.array([1.0, 0.0, 0.0]) if abs(along[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = near - (near @ along) * along
    first /= np.linalg.norm(first)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([first, np.cross(along, first), along], axis=1)
    pose[:3, 3] = trajectory.tip_ras_mm
    return pose


def send_trajectories(
    trajectories: Sequence[Trajectory], host: str, port: int = DEFAULT_PORT, timeout_s: float = _TIMEOUT_S
) -> int:
    """Send trajectories to a navigation system that listens; return how many messages were sent.

    Raises InputError where there is nothing to send or the table is too long for the protocol,
    ComputationError, naming the address, where nobody takes it.
    """
    messages = trajectory_messages(trajectories)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            for message in messages:
                connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            _drain(connection)
    except OSError as error:
        raise ComputationError(
            f"navigation system {host}:{port}: could not be reached or hung up ({error}); check that its OpenIGTLink "
            "server is running"
        ) from error
    return len(messages)


def _drain(connection: socket.socket) -> None:
    """Read what the other side sends until it hangs up, or a little while.

    A connection that is closed with something unread is reset, and what was sent may be lost.
    """
    end = time.monotonic() + _LINGER_S
    connection.settimeout(_LINGER_S)
    try:
        while time.monotonic() < end and connection.recv(65_536):
            pass
    except TimeoutError:
        pass


def trajectory_messages(trajectories: Sequence[Trajectory], at_s: float | None = None) -> list[bytes]:
    """The messages on a plan, each ready to be sent; `at_s` is their time in s since 1970, now if None.

    Raises InputError where there is no trajectory, or more than one text can hold.
    """
    if not trajectories:
        raise InputError("navigation: there is no trajectory to send")
    # What is no ASCII is escaped, so that a character is a byte.
    text = json.dumps([trajectory.to_dict() for trajectory in trajectories], allow_nan=False).encode("ascii")
    if len(text) > _MAX_TEXT:
        raise InputError(f"navigation: {len(trajectories)} trajectories are more than one OpenIGTLink text can hold")
    at_s = time.time() if at_s is None else at_s
    ends = [
        (f"{trajectory.name} {end}", point)
        for trajectory in trajectories
        for end, point in (("entry", trajectory.entry_ras_mm), ("tip", trajectory.tip_ras_mm))
    ]
    points = [_POINT.pack(_name(name, 64), b"Trajectory", *_RGBA, *point, 0.0, b"") for name, point in ends]
    return [
        _message("TRAJ", _PLAN_NAME, b"".join(map(_trajectory, trajectories)), at_s),
        _message("POINT", f"{_PLAN_NAME} points", b"".join(points), at_s),
        *(
            _message("TRANSFORM", trajectory.name, _TRANSFORM.pack(*tip_pose(trajectory)[:3].T.ravel()), at_s)
            for trajectory in trajectories
        ),
        _message("STRING", f"{_PLAN_NAME} table", _TEXT.pack(_ASCII, len(text)) + text, at_s),
    ]


def _trajectory(trajectory: Trajectory) -> bytes:
    ends = (*trajectory.entry_ras_mm, *trajectory.tip_ras_mm)
    return _TRAJECTORY.pack(_name(trajectory.name, 64), b"Trajectory", _ENTRY_AND_TARGET, 0, *_RGBA, *ends, 0.0, b"")


def _message(kind: str, name: str, body: bytes, at_s: float) -> bytes:
    seconds = int(at_s)
    fraction = int((at_s - seconds) * 2**32)
    header = (_HEADER_VERSION, kind.encode("ascii"), _name(name, 20), seconds, fraction, len(body), _crc64(body))
    return _HEADER.pack(*header) + body


def _name(text: str, size: int) -> bytes:
    """A name in ASCII, of `size` bytes at most."""
    return text.encode("ascii", "replace")[:size]


def _crc64(data: bytes) -> int:
    """The cyclic redundancy check of a body."""
    table = _crc_table()
    crc = 0
    for byte in data:
        crc = table[(crc >> 56) ^ byte] ^ ((crc << 8) & 0xFFFF_FFFF_FFFF_FFFF)
    return crc


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 56
        for _ in range(8):
            crc = ((crc << 1) ^ (_CRC_POLYNOMIAL if crc >> 63 else 0)) & 0xFFFF_FFFF_FFFF_FFFF
        table.append(crc)
    return tuple(table)
