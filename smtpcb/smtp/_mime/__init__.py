"""A stranger's message as an `email.message.EmailMessage`, read without trusting any of it.

`email` reads a message of a stranger in quadratic time, and raises for some
(python/cpython#136063 is one of many).  So its parsers are not used: the header section is read
by `smtpcb.smtp._header`, parts are found by `_parts`, fields are understood by `_fields`, and what
is `email`'s own is the shape of what comes out.  Every step is linear in what came, whatever came,
and nothing raises: what cannot be understood comes as text, and a defect says so.
"""

from smtpcb.smtp._mime._parts import MOST_DEPTH, MOST_PARTS, read_message

__all__ = ["MOST_DEPTH", "MOST_PARTS", "read_message"]
