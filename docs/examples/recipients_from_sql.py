"""
A recipient map from a database: who there is stands in a table, and is asked at each RCPT.

Start it with: twistd smtpcb --policy python:recipients_from_sql.recipients
"""

from twisted.enterprise import adbapi

from smtpcb.policies.recipients import Recipients

# adbapi runs queries in threads, so nobody waits for the database but who asked.
database = adbapi.ConnectionPool(
    "sqlite3", "mail.db", check_same_thread=False, cp_min=1, cp_max=3, cp_noisy=False
)


async def knows(address):
    """Whether there is such a mailbox; what the database raises is answered 451."""
    rows = await database.runQuery("SELECT 1 FROM mailboxes WHERE address = ?", (address,))
    return bool(rows)


recipients = Recipients(knows)
