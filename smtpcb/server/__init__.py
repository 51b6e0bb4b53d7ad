"""The dialogue on Twisted: protocol, factory, limits over all connections, service."""
