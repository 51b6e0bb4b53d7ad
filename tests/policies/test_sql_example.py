"""The recipient map of the documentation, from a database."""

from __future__ import annotations

import runpy
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from smtpcb import Envelope, Recipient
from smtpcb.smtp import ForwardPath, ReversePath

from .conftest import client

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "recipients_from_sql.py"


@pytest_twisted.ensureDeferred
async def test_recipients_stand_in_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is in it is taken, who is not is refused, and a database that fails raises."""
    monkeypatch.chdir(tmp_path)
    base = sqlite3.connect("mail.db")
    base.execute("CREATE TABLE mailboxes (address TEXT PRIMARY KEY)")
    base.execute("INSERT INTO mailboxes VALUES ('anne@example.org')")
    base.commit()
    names = runpy.run_path(str(EXAMPLE))
    pool: Any = names["database"]

    async def rcpt(name: str) -> Any:
        envelope = Envelope(client(), ReversePath("a", "example.com"))
        return await names["recipients"].rcpt(Recipient(ForwardPath(name, "example.org")), envelope)

    pool.start()
    try:
        assert await rcpt("Anne") is None
        assert (await rcpt("bob")).text == "550 5.1.1 No such mailbox"
        base.execute("DROP TABLE mailboxes")
        base.commit()
        with pytest.raises(sqlite3.OperationalError):
            await rcpt("anne")
    finally:
        base.close()
        pool.close()
