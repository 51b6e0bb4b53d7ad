"""The settings of ``twistd smtpcb``: what there is, and what was said."""

from smtpcb.run.options._configuration import Configuration, resolve
from smtpcb.run.options._file import read_file, read_value
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._table import BY_NAME, OPTIONS

__all__ = [
    "BY_NAME",
    "OPTIONS",
    "Configuration",
    "ConfigurationError",
    "Option",
    "read_file",
    "read_value",
    "resolve",
]
