"""Who may log in, and who must."""

from __future__ import annotations

from smtpcb.run.options._masking import masked_login
from smtpcb.run.options._option import Option
from smtpcb.run.options._values import login_method, mechanisms

ROWS: tuple[Option, ...] = (
    Option(
        "auth",
        login_method,
        (),
        "Who may log in, instead of whom the handler lets: htpasswd:FILE with lines NAME:HASH, "
        "file:FILE with lines NAME:PASSWORD, or what else --help-auth lists; may be repeated.",
        "METHOD",
        many=True,
        shown=masked_login,
    ),
    Option(
        "mechanisms",
        mechanisms,
        (),
        "Those of AUTH that are offered, in this order; by default all that whoever decides on "
        "logins can do.  May be repeated.",
        "NAME,NAME",
        many=True,
    ),
    Option("allow-insecure-auth", bool, False, "Take passwords outside TLS as well."),
    Option("require-auth", bool, False, "Take mail from clients only that have logged in."),
)
