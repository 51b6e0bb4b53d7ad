"""
Clients that are measured: each is started with ``PORT SESSIONS MESSAGES OCTETS``.

It sends MESSAGES in each of SESSIONS, one after the other, once a tenth of them as a warm-up, and
prints the seconds of CPU and of time that the rest took.
"""
