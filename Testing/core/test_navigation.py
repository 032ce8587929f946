"""OpenIGTLink: decoded by a client that knows the standard alone, over a real connection on this machine."""

from __future__ import annotations

import json
import socket
import struct
import threading

import numpy as np
import pytest

from NETAblationLib.core import navigation
from NETAblationLib.core.errors import ComputationError, InputError
from NETAblationLib.core.navigation import parse_address, send_trajectories, tip_pose, trajectory_messages
from NETAblationLib.core.trajectories import Stop, Trajectory

PROBES = (
    Trajectory("probe 1", (-30.5, 80.25, 12.0), (-10.0, 4.5, -7.75)),
    Trajectory("probe 2", (40.0, 70.0, 12.0), (22.0, 4.0, -3.0), "emprint-mwa"),
)


def crc64(data):
    """CRC-64 of ECMA-182, bit by bit."""
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            top = (crc >> 63) ^ (byte >> bit & 1)
            crc = (crc << 1 & (1 << 64) - 1) ^ (0x42F0E1EBA9EA3693 if top else 0)
    return crc


def text(data):
    return data.rstrip(b"\0").decode("ascii")


def decoded(stream):
    """The messages of a stream of bytes, read with the layout of the standard's headers."""
    messages = []
    while stream:
        version, kind, name, seconds, fraction, size, crc = struct.unpack(">H12s20sIIQQ", stream[:58])
        body, stream = stream[58 : 58 + size], stream[58 + size :]
        assert (version, len(body)) == (1, size)
        assert crc == crc64(body)
        messages.append((text(kind), text(name), seconds + fraction / 2**32, body))
    return messages


class Receiver:
    """A navigation system that listens on this machine, takes all that one sender has, and says something itself."""

    def __init__(self):
        """Listen on a free port."""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.port = self.socket.getsockname()[1]
        self.stream = b""
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self):
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(10)
            connection.sendall(b"\0" * 200)
            while data := connection.recv(1000):
                self.stream += data

    def messages(self):
        """All that came, decoded, once the sender has hung up."""
        self.thread.join(10)
        self.socket.close()
        return decoded(self.stream)


def test_a_receiving_client_gets_every_trajectory():
    receiver = Receiver()
    assert send_trajectories(PROBES, "127.0.0.1", receiver.port) == 5
    messages = receiver.messages()
    assert [(kind, name) for kind, name, _, _ in messages] == [
        ("TRAJ", "NETAblation"),
        ("POINT", "NETAblation points"),
        ("TRANSFORM", "probe 1"),
        ("TRANSFORM", "probe 2"),
        ("STRING", "NETAblation table"),
    ]
    bodies = [body for _, _, _, body in messages]
    assert len(bodies[0]) == 2 * 150
    for probe, part in zip(PROBES, (bodies[0][:150], bodies[0][150:]), strict=True):
        assert text(part[:64]) == probe.name
        assert text(part[64:96]) == "Trajectory"
        assert part[96] == 3  # entry and target
        places = np.array(struct.unpack(">6f", part[102:126])).reshape(2, 3)
        assert places == pytest.approx(np.array([probe.entry_ras_mm, probe.tip_ras_mm]), abs=1e-5)
    assert len(bodies[1]) == 4 * 136
    for number in range(4):
        part, probe = bodies[1][136 * number : 136 * (number + 1)], PROBES[number // 2]
        end = ("entry", "tip")[number % 2]
        assert text(part[:64]) == f"{probe.name} {end}"
        assert struct.unpack(">3f", part[100:112]) == pytest.approx(getattr(probe, f"{end}_ras_mm"), abs=1e-5)
    for probe, body in zip(PROBES, bodies[2:4], strict=True):
        matrix = np.array(struct.unpack(">12f", body)).reshape(4, 3).T
        assert matrix[:, 3] == pytest.approx(probe.tip_ras_mm, abs=1e-5)
        assert matrix[:, 2] == pytest.approx(probe.direction, abs=1e-6)
    encoding, size = struct.unpack(">HH", bodies[4][:4])
    assert (encoding, size) == (3, len(bodies[4]) - 4)
    assert json.loads(bodies[4][4:]) == [probe.to_dict() for probe in PROBES]


def test_messages_are_those_of_another_implementation_to_the_byte():
    """What pyigtl 0.3.4 packs from the same pose."""
    pyigtl_transform = (
        "00015452414e53464f524d00000070726f62652031000000000000000000000000006553f100400000000000000000000030"
        "e225508ee5c07fd53f77a6353e7b04c23d82e4e923000000be812c673f77b7fd3e81b481bf6fa359be79eb6ac120000040900000c0f80000"
    )
    assert trajectory_messages(PROBES, 1_700_000_000.25)[2].hex() == pyigtl_transform


def test_the_check_of_a_body_is_that_of_the_catalogue_of_crcs():
    assert navigation._crc64(b"123456789") == 0x6C40DF5F0B497347
    data = bytes(range(256)) * 3
    assert navigation._crc64(data) == crc64(data)


@pytest.mark.parametrize("entry", [(0, 80, 0), (90, 0, 0), (-90, 0.01, 0), (0, 0, 50), (3, -40, 20)])
def test_the_pose_is_a_rotation_to_the_tip_with_the_shaft_as_third_axis(entry):
    probe = Trajectory("probe 1", tuple(map(float, entry)), (1.0, 2.0, 3.0))
    pose = tip_pose(probe)
    assert pose[:3, :3].T @ pose[:3, :3] == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert pose[:3, 2] == pytest.approx(probe.direction)
    assert pose[:3, 3] == pytest.approx(probe.tip_ras_mm)
    assert pose[3].tolist() == [0, 0, 0, 1]


def test_nobody_there_and_nothing_to_send_are_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ComputationError, match=f"navigation system 127.0.0.1:{port}: could not be reached"):
        send_trajectories(PROBES, "127.0.0.1", port, timeout_s=1.0)
    with pytest.raises(InputError, match="no trajectory"):
        trajectory_messages([])
    stops = (Stop("a", 1.0, 1.0, 1.0),) * 1000
    with pytest.raises(InputError, match="more than one OpenIGTLink text can hold"):
        trajectory_messages([Trajectory("probe 1", (0, 9, 0), (0, 0, 0), stops=stops)])


def test_a_name_that_is_not_ascii_does_not_break_the_table():
    message = trajectory_messages([Trajectory("probe 1", (0.0, 9.0, 0.0), (0.0, 0.0, 0.0), "größe")])[-1]
    ((_, _, _, body),) = decoded(message)
    assert json.loads(body[4:])[0]["device"] == "größe"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("localhost:18945", ("localhost", 18945)),
        ("10.0.0.7", ("10.0.0.7", 18944)),
        ("[::1]:18944", ("::1", 18944)),
    ],
)
def test_an_address_is_read(address, expected):
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["", ":18944", "host:", "host:port", "host:0", "host:70000", "a b:1", "::1:5"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match="no address of a navigation system"):
        parse_address(address)
