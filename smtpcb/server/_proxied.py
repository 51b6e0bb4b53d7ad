"""
Endpoints at which a balancer says who the client is (the PROXY protocol), which is not ours yet.

They would look as if they worked: handlers, limits and transcripts would take the balancer for
every client.
"""

from __future__ import annotations

import re

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

# As the kind of an endpoint, or of one within another.
_HAPROXY = re.compile(r"(?:\A|:)\s*haproxy\s*:", re.IGNORECASE)


def refuse_proxied(endpoint: IStreamServerEndpoint | str) -> None:
    """
    Refuse an endpoint of that kind, or a description of one.

    :raises ValueError: it is one.
    """
    if isinstance(endpoint, str):
        # A backslash stands before any character, and before the colons of one within another.
        plain = endpoint.replace("\\", "")
        if not plain.startswith("unix:") and _HAPROXY.search(plain):
            raise ValueError(f"the PROXY protocol is not there yet: {endpoint}")
    elif getattr(endpoint, "_wrapperFactory", None) is HAProxyWrappingFactory:
        raise ValueError("the PROXY protocol is not there yet: an endpoint of haproxy:")
