"""A handler like any other: it takes mail for example.org and says so."""

import threading

from smtpcb.engine import Envelope, Reason, Recipient


class Inbox:
    """Mail of all connections, in memory; whoever asks it, a thread, asyncio or Twisted."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self._lock = threading.Lock()

    def rcpt(self, recipient: Recipient, envelope: Envelope) -> tuple[int, str] | None:
        if recipient.domain != "example.org" and not recipient.is_postmaster:
            return 550, "No relaying"
        return None

    def message(self, envelope: Envelope) -> tuple[int, str]:
        subject = str(envelope.content.mime()["Subject"] or "")
        with self._lock:  # several threads may be here at once
            self.subjects.append(subject)
            self._say(f"message {envelope.size_octets} from {envelope.reverse_path}")
            return 250, f"Message {len(self.subjects)} taken"

    def aborted(self, reason: Reason, envelope: Envelope) -> None:
        with self._lock:
            self._say(f"no message: {reason.value}")

    def _say(self, text: str) -> None:
        print(text, flush=True)
