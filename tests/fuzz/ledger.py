"""What a handler may rely on, looked at with each call that it gets."""

from __future__ import annotations


class Ledger:
    """
    Which calls came, and whether they may have.

    :param succeeded: whether XCLIENT may put another client in the place of one that has gone.
    :ivar complaints: what a handler must not live to see.
    :ivar calls: those of the client that is there.
    """

    def __init__(self, *, concurrent: bool, succeeded: bool = False) -> None:
        self.complaints: list[str] = []
        self.calls: list[str] = []
        self._succeeded = succeeded
        self._concurrent = concurrent
        self._deciding: list[str] = []
        self._open = False  # an accepted MAIL waits for its end

    def called(self, name: str) -> None:
        """Note a call."""
        if self._succeeded and name == "connected" and "disconnected" in self.calls:
            self.conclude()
            self.calls, self._open = [], False
        expect_first = "connected" if "connected" not in self.calls else name
        if name != expect_first:
            self.complaints.append(f"{name} before connected")
        if name in ("connected", "disconnected") and name in self.calls:
            self.complaints.append(f"{name} twice")
        if "disconnected" in self.calls:
            self.complaints.append(f"{name} after disconnected")
        overlapping = self._deciding
        if self._concurrent and name in ("rcpt", "command"):
            overlapping = [other for other in overlapping if other != "rcpt"]
        if overlapping:
            self.complaints.append(f"{name} during {overlapping}")
        if name == "mail" and self._open:
            self.complaints.append("mail within a transaction")
        if name in ("message", "aborted"):
            if not self._open:
                self.complaints.append(f"{name} without an accepted mail")
            self._open = False
        self.calls.append(name)

    def began(self, name: str) -> None:
        """Note that a call has not been answered at once."""
        self._deciding.append(name)

    def ended(self, name: str) -> None:
        """Note that it has been now."""
        self._deciding.remove(name)

    def accepted(self, name: str) -> None:
        """Note a yes that the server will hear."""
        if name == "mail":
            self._open = True

    def conclude(self) -> None:
        """Note that nothing more may come."""
        if self.calls and self.calls[-1] != "disconnected":
            self.complaints.append(f"{self.calls[-1]} is the last call, not disconnected")
        if self._open:
            self.complaints.append("an accepted mail ended in neither message nor aborted")
