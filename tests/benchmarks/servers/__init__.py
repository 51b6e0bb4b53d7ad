"""What the servers run: handlers for smtpcb, and peers in Python as programs of their own."""
