"""Every setting of ``twistd smtpcb``, once: name, kind, default, help; a file for each group."""

from __future__ import annotations

from collections.abc import Mapping

from smtpcb.run.options import (
    _dialogue,
    _handler,
    _limits,
    _listening,
    _logins,
    _process,
    _tls,
    _transcripts,
)
from smtpcb.run.options._option import Option

OPTIONS: tuple[Option, ...] = (
    *_listening.ROWS,
    *_dialogue.ROWS,
    *_handler.ROWS,
    *_transcripts.ROWS,
    *_tls.ROWS,
    *_logins.ROWS,
    *_limits.ROWS,
    *_process.ROWS,
)

BY_NAME: Mapping[str, Option] = {option.name: option for option in OPTIONS}
