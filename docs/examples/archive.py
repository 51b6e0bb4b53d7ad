"""Takes mail once the archive has it: archive.py, for --handler python:archive.Archive."""

from smtpcb import received_header
from smtpcb.client import NoSession, Server, SubmissionSession
from smtpcb.engine import ClientSettings, Outcome

ARCHIVE = Server("localhost", 10025)
PLAIN = ClientSettings(starttls="off")


class Archive:
    """What the archive says to its copy, our client hears."""

    async def message(self, envelope):
        copy = received_header(envelope) + envelope.content.bytes()
        session = SubmissionSession(ARCHIVE, settings=PLAIN)
        # As it is: it is somebody else's, and complete.
        added = session.add_message(envelope.reverse_path, copy, rules=None)
        recipient = added.add_recipient("archive@example.org")
        try:
            await session.run()
        except NoSession:
            return 451, "4.4.1", "The archive is not there"
        if recipient.outcome is Outcome.REFUSED:
            return recipient.reply
        return recipient.outcome is Outcome.DELIVERED or (451, "4.4.2", "The archive: later")
