"""Prefaced: an endpoint whose connections begin with some octets of ours, ahead of TLS and all."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class Prefaced:
    """
    An endpoint.

    :param endpoint: connects.
    :param octets: what is said first, such as a header of the PROXY protocol.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, octets: bytes) -> None:
        self._endpoint = endpoint
        self._octets = octets

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:  # noqa: N803
        """See `IStreamClientEndpoint`."""
        return self._endpoint.connect(_Prefacing(protocolFactory, self._octets))


class _Prefacing(Factory):
    noisy = False

    def __init__(self, factory: Any, octets: bytes) -> None:
        self._factory = factory
        self._octets = octets

    def buildProtocol(self, addr: Any) -> Any:
        """Return the other factory's; it speaks second."""
        made = self._factory.buildProtocol(addr)
        if made is not None:
            begin = made.makeConnection

            def make_connection(transport: Any) -> None:
                transport.write(self._octets)
                begin(transport)

            made.makeConnection = make_connection
        return made
