"""A handler like any other: it takes mail for example.org and says so."""

import threading


class Inbox:
    """Mail of all connections, in memory; whoever asks it, a thread, asyncio or Twisted."""

    def __init__(self):
        self.subjects = []
        self._lock = threading.Lock()

    def rcpt(self, forward_path, parameters):
        if forward_path.domain != "example.org":
            return 550, "No relaying"
        return None

    def message(self, envelope):
        with self._lock:  # several threads may be here at once
            self.subjects.append(envelope.content.mime()["Subject"])
            self._say(f"message {envelope.size_octets} from {envelope.reverse_path}")
            return 250, f"Message {len(self.subjects)} taken"

    def aborted(self, reason):
        with self._lock:
            self._say(f"no message: {reason.value}")

    def _say(self, text):
        print(text, flush=True)
