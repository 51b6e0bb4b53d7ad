"""Mail data: where it ends, what a leading dot means (RFC 5321 §4.5.2), and chunks (RFC 3030)."""

from __future__ import annotations

import io

from smtpcb.smtp import _scan as scan


class DotReader:
    """
    The mail data behind DATA, in bulk, however it is cut.

    Only CRLF.CRLF ends it (RFC 5321 §4.1.1.4), and one dot is taken from each line that has
    more than that dot.  What is handed out ends in CRLF, the one before the final dot.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        # What could begin CRLF.CRLF: of "\r\n.\r" some first octets.  Of these CR and LF have
        # already been handed out; the dot and the CR behind it have not.  The first line begins
        # as if a CRLF stood before it.
        self._held = b"\r\n"

    def read(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """
        Take the next octets.

        :return: mail data without the stuffed dots, and what stands behind the end of the data;
            ``None`` while there is no end.
        """
        held = self._held
        given_out = len(held) if len(held) < 2 else 2
        if held:
            octets = held + octets
        dot = scan.find_dot_line(octets)
        end = octets.find(b"\r\n.\r\n", dot) if dot >= 0 else -1
        rest = None
        if end >= 0:
            octets, rest = octets[: end + 2], octets[end + 5 :]
        else:
            held = self._held = _beginning_of_the_end(octets)
            if len(held) > 2:
                octets = octets[: 2 - len(held)]
        if dot >= 0:
            # Each line that begins with a dot loses it; matches cannot overlap.
            octets = octets.replace(b"\r\n.", b"\r\n")
        return (octets[given_out:] if given_out else octets), rest


def _beginning_of_the_end(octets: bytes) -> bytes:
    """Return with how much of CRLF.CRLF a piece ends."""
    if octets.endswith(b"\r\n"):
        return b"\r\n"
    for length in (4, 3, 1):
        if octets.endswith(b"\r\n.\r"[:length]):
            return b"\r\n.\r"[:length]
    return b""


class ChunkReader:
    """The mail data of one BDAT command: so many octets, whatever they are (RFC 3030 §2)."""

    __slots__ = ("left",)

    def __init__(self, size_octets: int) -> None:
        self.left = size_octets

    def read(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """Take the next octets; the same as `DotReader.read`."""
        left = self.left
        if len(octets) < left:
            self.left = left - len(octets)
            return octets, None
        self.left = 0
        return octets[:left], octets[left:]


class NewlineCheck:
    """Whether every CR and LF is part of a CRLF (RFC 5321 §2.3.8), however the data is cut."""

    __slots__ = ("_cr", "_passes")

    def __init__(self) -> None:
        self._cr = False
        self._passes = True

    @property
    def found(self) -> bool:
        """Whether there has been a bare one."""
        return not self._passes

    def passes(self, octets: bytes) -> bool:
        """
        Take the next octets.

        A CR that is last is judged with the octet behind it.

        :return: whether no bare CR or LF has been seen yet.
        """
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:
            octets = octets[:-1]
        self._passes = self._passes and scan.newlines_paired(octets)
        return self._passes

    def ends(self) -> bool:
        """Take note that no more comes, and return the same: a CR that is last is a bare one."""
        return self._passes and not self._cr


class NewlineRepair:
    """
    Makes each bare CR or LF a CRLF, however the data is cut.

    Whoever passes the result on must stuff its dots anew from its lines: they are not the lines
    that came in.
    """

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = io.IncrementalNewlineDecoder(None, True)

    @property
    def found(self) -> bool:
        """Whether there has been a bare one."""
        return self._decoder.newlines not in (None, "\r\n")

    def repair(self, octets: bytes) -> bytes:
        """Take the next octets; a CR that is last is given out with the octet behind it."""
        text = self._decoder.decode(octets.decode("latin-1"))
        return text.replace("\n", "\r\n").encode("latin-1")


class DotStuffer:
    """
    Mail data as DATA sends it, in bulk, however it is cut: each line's first dot is doubled.

    What it is given ends lines in CRLF alone (`NewlineCheck`): whatever else somebody downstream
    took for a line end would hide a dot from it.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        # The last two octets that were given; the first line begins as if a CRLF stood before it.
        self._tail = b"\r\n"

    def stuff(self, octets: bytes) -> bytes:
        """Return the next octets as they are sent."""
        tail = self._tail
        self._tail = octets[-2:] if len(octets) > 1 else (tail + octets)[-2:]
        dot = scan.find_dot_line(octets)
        if octets[:1] == b"." and tail == b"\r\n":
            octets = b"." + octets
        elif octets[:2] == b"\n." and tail[-1:] == b"\r":
            octets = b"\n." + octets[1:]
        return octets if dot < 0 else octets.replace(b"\r\n.", b"\r\n..")

    def end(self) -> bytes:
        """Return what ends the data: the last line's CRLF, if that is missing, and the lone dot."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


def stuff(content: bytes) -> bytes:
    """
    Return a whole message as DATA sends it: dots doubled, a CRLF at the end, and the final dot.

    :param content: its lines end in CRLF.
    """
    stuffer = DotStuffer()
    return stuffer.stuff(content) + stuffer.end()
