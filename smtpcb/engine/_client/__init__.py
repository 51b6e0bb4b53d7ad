"""
A client's side of the dialogue: what to send, what it meant, and what to do next; no clock, no I/O.

The owner has the connection, the timers, the handshake, the secrets and the content.  It makes a
`ClientDialogue` when it has connected, and then goes round, whenever something has happened:

1. Send what `take_output` returns, if it is not empty.
2. Do what `wants` says, which is one of these:

   - REPLY: wait.  Pass octets from the server to `receive`, the end of the connection to `lost`, a
     timer that has run out to `time_out`; how long to wait, `stage` decides (RFC 5321 §4.5.3.2).
   - HANDSHAKE: secure the connection, check whose it is, and call `secured` or
     `handshake_failed`.
   - CREDENTIALS: find out who logs in by `mechanism`, now or later, and call `give`.
   - WORK: call `send` with the next `Transaction`, `ask` with a `Command`, or `quit`.
   - RECIPIENTS: a transaction was begun by `open`: call `add` with another `Destination`, `proceed`
     if there is none, or `drop`.  The server goes on answering meanwhile, so octets from it are
     passed on as ever.
   - CONTENT: call `content` with the next piece, then go round again; `end_content` behind the
     last one.  Wait before the next piece while the connection takes no more.  Whoever reads the
     content piece by piece must look again before it gives one: the server may have refused the
     message meanwhile.  `fail_content` if there is no next piece.
   - NOTHING: close the connection.  `failure` says why; ``None``: it was quit.

3. Go round again, until `wants` is what was waited for.

`lost`, `time_out` and `abandon` may be called at any time, and so may `receive`, for a server may
speak while content is sent.

What became of a message stands in its `Transaction`, once `wants` is WORK again or NOTHING: for
each `Destination` an `Outcome` and the reply that decided it.  A message that was sent to its end
and not answered is UNKNOWN, never a success and never a failure.

Here is all of it, for a message that is in memory::

    dialogue = ClientDialogue(ClientSettings(hostname="client.example.org"))
    transaction = Transaction("anne@example.org", ["bob@example.org"], size_octets=len(content))
    while dialogue.wants is not ClientWants.NOTHING:
        connection.sendall(dialogue.take_output())
        if dialogue.wants is ClientWants.REPLY:
            octets = connection.recv(65536)
            dialogue.receive(octets) if octets else dialogue.lost()
        elif dialogue.wants is ClientWants.HANDSHAKE:
            connection = context.wrap_socket(connection, server_hostname=host)
            dialogue.secured(TlsInformation(connection.version(), *connection.cipher()[::2]))
        elif dialogue.wants is ClientWants.CONTENT:
            dialogue.content(content)
            dialogue.end_content()
        elif transaction.mail_reply is None:
            dialogue.send(transaction)
        else:
            dialogue.quit()
"""
