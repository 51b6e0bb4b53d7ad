"""Logins of the fuzz command: what clients send that hardly know a mechanism, and one that does."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from smtpcb.smtp._errors import PeerProtocolError
from smtpcb.smtp.sasl import MECHANISMS, AskSession, Credentials, Session

RESPONSES = (
    *(b"\0anne\0secret", b"\0a\0", b"x", b"\xff\0\xff\0\xff", b""),
    *(b"anne 0123456789abcdef0123456789abcdef", b"anne", b" ", b"\xff x"),
    *(b"n,,n=anne,r=abc", b"y,,n=anne,r=abc"),
    *(b"p=tls-exporter,,n=anne,r=abc", b"n,a=b,n=a,r=x"),
    *(b"n,,n=a=2Cb=3D,r=abc", b"n,,n==,r=", b"n,,m=x,n=a,r=x", b"c=biws,r=abc,p=AAAA", b"c=,r=,p="),
    *(b"n,a=anne,\x01auth=Bearer t0ken\x01\x01", b"n,,\x01\x01"),
    *(b"user=anne\x01auth=Bearer t\x01\x01", b"user=\x01auth=Bearer t\x01\x01"),
    *(b"auth=Bearer \xff\x01\x01", b"\x01", b"anne@example.org"),
)  # fmt: skip


def careless_login(random: Random) -> bytes:
    """Return an exchange of one who does not wait for what the server says."""
    line = base64.b64encode(random.choice(RESPONSES))
    user, password = base64.b64encode(b"anne"), base64.b64encode(b"secret")
    mechanism = random.choice([*MECHANISMS]).encode("ascii")
    answers = b"".join(
        base64.b64encode(random.choice(RESPONSES)) + b"\r\n" for _ in range(random.randrange(3))
    )
    return random.choice(
        (
            b"AUTH PLAIN " + base64.b64encode(b"\0anne\0secret") + b"\r\n",
            b"AUTH PLAIN\r\n" + line + b"\r\n",
            b"AUTH LOGIN\r\n" + user + b"\r\n" + password + b"\r\n",
            b"AUTH LOGIN " + user + b"\r\n*\r\n",
            b"AUTH " + mechanism + b"\r\n" + line + b"\r\n" + answers,
            b"AUTH " + mechanism + b" " + line + b"\r\n" + answers,
            b"AUTH " + mechanism + b" =\r\n" + answers,
            b"AUTH " + mechanism + b"\r\n*\r\n",
            b"AUTH X\r\n",
            b"AUTH\r\n",
            b"AUTH PLAIN\r\n" + b"A" * random.choice((12286, 12287, 20000)) + b"\r\n",
        )
    )


def true_login(
    random: Random,
    offered: Sequence[str],
    bind: Callable[[str], bytes | None],
    told: Callable[[bytes], list[bytes]],
) -> str | None:
    """
    Log in as a client does that knows its mechanism; now and then it says something else instead.

    :param offered: the mechanisms there are.
    :param bind: returns the channel binding of a type.
    :param told: sends a line, and returns the lines of what is said then.
    :return: the mechanism, if it was let in.
    """
    mechanism = MECHANISMS[random.choice(offered)]
    credentials = Credentials(
        mechanism.name,
        "anne",
        random.choice(("secret", "secret", "secret", "wrong")),
        token="t0ken",
    )
    exchange = mechanism.client(credentials)
    said: Any = next(exchange)
    if isinstance(said, AskSession):
        said = exchange.send(Session(bind=bind))
    line = b"AUTH " + mechanism.name.encode("ascii")
    if said is not None and random.random() < 0.5:
        line += b" " + (base64.b64encode(said) or b"=")
        said = None
    while True:
        reply = (told(line + b"\r\n") or [b""])[-1]
        if reply[:4] != b"334 ":
            return mechanism.name if reply[:3] == b"235" else None
        try:
            if said is None:
                said = exchange.send(base64.b64decode(reply[4:]))
            line = base64.b64encode(said or b"")
        except (StopIteration, ValueError, PeerProtocolError):
            line = b"*"
        said = None
        if random.random() < 0.05:
            line = random.choice((b"*", b"", b"=", line[:-1], base64.b64encode(b"n,,n=x,r=y")))
