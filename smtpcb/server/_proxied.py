"""
Twisted's own endpoints at which a balancer says who the client is, which are not ours.

They would look as if they worked: handlers, limits and transcripts would take the balancer for
every client, and anybody could say that he is one.
"""

from __future__ import annotations

import re

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

# As the kind of an endpoint, or of one within another.
_HAPROXY = re.compile(r"(?:\A|:)\s*haproxy\s*:", re.IGNORECASE)

_SAID = "not haproxy: but --proxy-from NETWORK (proxy_from) has the PROXY protocol spoken"


def refuse_proxied(endpoint: IStreamServerEndpoint | str) -> None:
    """
    Refuse an endpoint of that kind, or a description of one.

    :raises ValueError: it is one.
    """
    if isinstance(endpoint, str):
        # A backslash stands before any character, and before the colons of one within another.
        plain = endpoint.replace("\\", "")
        if not plain.startswith("unix:") and _HAPROXY.search(plain):
            raise ValueError(f"{_SAID}: {endpoint}")
    elif getattr(endpoint, "_wrapperFactory", None) is HAProxyWrappingFactory:
        raise ValueError(_SAID)
