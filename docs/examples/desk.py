"""A mail server to try a client on: who is asked for says what becomes of the message."""


class Desk:
    """Anne may log in; nobody is not here, and busy has no time at first."""

    asked = set()

    def authenticate(self, credentials, connection):
        return (credentials.username, credentials.password) == ("anne", "tim")

    def rcpt(self, recipient, envelope):
        if recipient.local_part == "nobody":
            return 550, "5.1.1", "No such mailbox"
        if recipient.local_part == "busy" and str(recipient) not in self.asked:
            self.asked.add(str(recipient))
            return 450, "4.2.1", "Try again later"
        return None

    def message(self, envelope):
        return 250, "2.0.0", f"Taken for {len(envelope.recipients)}"
