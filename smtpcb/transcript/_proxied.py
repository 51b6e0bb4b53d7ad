"""Who has said which client it is, where that is behind somebody: a line of a transcript's head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpcb.transcript._notation import endpoint

if TYPE_CHECKING:
    from smtpcb.engine._connection import Connection, ProxyInformation


def described(connection: Connection) -> str:
    """Return what the head of a transcript says of a balancer and a proxy, if one is there."""
    if connection.proxy is None and connection.xclient is None:
        return ""
    said = [] if connection.proxy is None else [_by_header(connection.proxy)]
    client = connection.xclient
    if client is not None:
        by = f"{endpoint(client.proxy_address, 0)} by XCLIENT"
        said.append(f"{by}, login {client.login}" if client.login else by)
    return "; ".join(said)


def _by_header(proxy: ProxyInformation) -> str:
    said = [f"{endpoint(proxy.address, proxy.port)} by PROXY v{proxy.version}"]
    if not proxy.client_known:
        said.append("which names no client")
    if proxy.server_name is not None:
        said.append(f"for {proxy.server_name}")
    if proxy.tls is not None:
        said.append(f"{proxy.tls.version} {proxy.tls.cipher}".strip() or "TLS")
        if proxy.tls.common_name is not None:
            how = "verified" if proxy.tls.verified else "not verified"
            said.append(f"certificate of {proxy.tls.common_name} ({how})")
    return ", ".join(said)
