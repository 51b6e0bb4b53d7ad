"""
How much CPU a message costs smtpcb, and how much it costs its peers.

From the checkout, after ``sh .ci/setup dev``::

    .venv/bin/python -m tests.benchmarks --install   # the peers: pip, npm, go build, Debian
    .venv/bin/python -m tests.benchmarks             # everything but postal, three rounds
    .venv/bin/python -m tests.benchmarks --write     # the same, into docs/benchmarks.md
    .venv/bin/python -m tests.benchmarks --workloads small,single --servers smtpcb,go-smtp
    .venv/bin/python -m tests.benchmarks --quick     # does it run at all? figures mean nothing
    .venv/bin/python -m tests.benchmarks.calls       # Python calls a message, without a network

Each server runs in turn, alone, pinned to one core, on a free port of 127.0.0.1; whoever sends to
it is pinned to another.  A run starts the server, warms it with a tenth of the load, and takes
the CPU time (user and system, all threads and children) that the load itself costs.  Rounds are
interleaved, so that a machine that slows down slows everybody down, and the median is shown.
Nothing here is a test: pytest does not collect it, and nothing fails for being slow.  What does
fail is a run in which a message got lost or a reply was not the expected one.

A peer that is not installed is left out, and the report says so.  One is always there: ``canned``,
a LineReceiver that knows nothing but its replies, on Twisted's transport or on ours.

=============== ================================================================
``peers``       the servers: how each is started, what it can do, which version
``install``     how a peer gets here
``processes``   a server as a process: pinned, watched, ended
``clients``     who sends: smtp-source, postal, and a client of ours
``workloads``   what is sent, and what is measured
``goals``       which ratio is wanted
``report``      the table
``calls``       counts calls: the same on every machine, and however busy it is
``senders/``    clients that are measured: ours, in Python, and in C
``servers/``    peers in Python, and the handlers that smtpcb runs
``node/``       nodemailer, and its smtp-server
``go/``         go-smtp
=============== ================================================================
"""
