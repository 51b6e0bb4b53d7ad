"""The settings of ``twistd smtpcb``: what there is, and what was said."""

from smtpcb.run.options._configuration import Configuration, resolve
from smtpcb.run.options._environment import FILE, empty, read_environment
from smtpcb.run.options._file import read_file
from smtpcb.run.options._option import ConfigurationError, Option
from smtpcb.run.options._reading import read_text, read_value
from smtpcb.run.options._table import BY_NAME, OPTIONS
from smtpcb.run.options._written import written

__all__ = [
    "BY_NAME",
    "FILE",
    "OPTIONS",
    "Configuration",
    "ConfigurationError",
    "Option",
    "empty",
    "read_environment",
    "read_file",
    "read_text",
    "read_value",
    "resolve",
    "written",
]
