"""How the documentation is built; whatever the code knows is drawn from the code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils import nodes
from docutils.utils import unescape
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective, SphinxRole

from smtpcb.engine import _replies as replies
from smtpcb.engine._client._table import (
    CLIENT_TRANSITIONS,
    CLIENT_WANTS,
    STAGES,
    ClientState,
    ClientStep,
)
from smtpcb.engine._handler import EVENTS
from smtpcb.engine._questions import CHUNK, COMMAND, HEADER, KINDS, Kind
from smtpcb.engine._table import TRANSITIONS, WANTS, WHY, State, Step
from smtpcb.run.options import OPTIONS, Option
from smtpcb.run.options._listener import is_of_a_listener
from smtpcb.smtp._command import Verb
from smtpcb.smtp._limits import Limits
from smtpcb.smtp._reply import Reply

project = "smtpcb"
author = "the smtpcb authors"
project_copyright = f"2026, {author}"
release = installed_version("smtpcb")
version = release

sys.path.insert(0, str(Path(__file__).parent))
extensions = ["sphinx.ext.autodoc", "public_face", "references"]
# A reference to what does not exist fails the build; `references.resolve` finds what is meant.
nitpicky = True
exclude_patterns = ["_build", "changes"]
html_theme = "furo"
html_title = f"smtpcb {release}"

# `Reply` in a docstring is a link to it, wherever it is defined.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # Every name is described once, in the module that defines it.
    "ignore-module-all": True,
}
autodoc_typehints = "signature"
python_use_unqualified_type_names = True


class StateTable(SphinxDirective):
    """``.. state-table::`` draws what `TRANSITIONS` has for commands, a row a verb."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        states = [state for state in State if any(verb in TRANSITIONS[state] for verb in Verb)]
        verbs = [verb for verb in Verb if any(verb in TRANSITIONS[state] for state in states)]
        rows = [["", *(f"**{title(state)}**" for state in states)]]
        for verb in verbs:
            after = [TRANSITIONS[state].get(verb) for state in states]
            name = OWN_VERBS if verb is Verb.UNKNOWN else verb.name
            rows.append([f"**{name}**", *(title(state) if state else "" for state in after)])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :stub-columns: 1")))


# How a verb of an extension of the user's appears to the dialogue.
OWN_VERBS = "one of yours"


class StepTable(SphinxDirective):
    """``.. step-table::`` draws what moves the state beside commands: a row a move."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        rows = [["State", "What happens", "leads to"]]
        for state, moves in TRANSITIONS.items():
            for step, after in moves.items():
                if isinstance(step, Step) and step is not Step.ENDED:
                    rows.append([f"**{title(state)}**", step.value, title(after)])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 24 52 24")))


class StateList(SphinxDirective):
    """``.. state-list::`` says what each state is, what it wants, and what else is told."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        documented = ModuleAnalyzer.for_module(State.__module__).find_attr_docs()
        rows = [["State", "What it is", "What is wanted next", "What else is told"]]
        for state in State:
            about = " ".join(documented["State", state.name])
            why = dict.fromkeys(f"``{reply.text}``" for reply in WHY.get(state, {}).values())
            takes_commands = any(verb in TRANSITIONS[state] for verb in Verb)
            told = " or ".join(why) if takes_commands else ""
            rows.append([f"**{title(state)}**", about.strip(), WANTS[state].value, told])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 14 34 24 28")))


class ClientStepTable(SphinxDirective):
    """``.. client-step-table::`` draws `CLIENT_TRANSITIONS`: a row a move."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        rows = [["State", "What happens", "leads to"]]
        for state, moves in CLIENT_TRANSITIONS.items():
            for step, after in moves.items():
                if step is not ClientStep.ENDED:
                    rows.append([f"**{title(state)}**", step.value, title(after)])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 24 52 24")))


class ClientStateList(SphinxDirective):
    """``.. client-state-list::`` says what each state is and wants, and what an error names."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        documented = ModuleAnalyzer.for_module(ClientState.__module__).find_attr_docs()
        rows = [["State", "What it is", "What is wanted next", "An error names"]]
        for state in ClientState:
            about = " ".join(documented["ClientState", state.name]).strip()
            stage = STAGES[state].value if state in STAGES else "the command without a reply"
            rows.append([f"**{title(state)}**", about, CLIENT_WANTS[state].value, stage])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 14 40 26 20")))


def title(state: State | ClientState) -> str:
    """Return a state's name as the prose writes it."""
    return state.name.replace("_", " ").lower()


def list_table(rows: Iterable[Iterable[str]], *options: str) -> list[str]:
    """Write a table whose first row is its heading as reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", *options, ""]
    for row in rows:
        lines += [f"   {'* -' if at == 0 else '  -'} {cell}" for at, cell in enumerate(row)]
    return lines


class EventTable(SphinxDirective):
    """``.. event-table::``: the methods of a handler, and what a plain yes and no say."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        kinds = {kind.method: kind for kind in reversed(KINDS) if kind is not COMMAND}
        rows = [["Method", "What a yes says", "What a no says"]]
        for name, arguments in EVENTS.items():
            cells = [
                said(kinds[name], word) if name in kinds else "" for word in ("accept", "refuse")
            ]
            rows.append([f"``{name}({', '.join(arguments)})``", *cells])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 36 36 28")))


# What depends on the connection or on the handler, and so stands in no table.
VARIABLE = {
    "connected": "220 with the name of the server and ``--banner``",
    "hello": "250 with the name of the server; to EHLO also with what it offers",
    "secured": "nothing, or the greeting",
}


def said(kind: Kind, word: str) -> str:
    """Say what the client hears of a yes or a no."""
    if word == "accept" and kind in (HEADER, CHUNK):
        return ""
    if word == "accept" and kind.method in VARIABLE:
        return VARIABLE[kind.method]
    return reply_in_prose(getattr(kind, word))


def reply_in_prose(reply: Reply) -> str:
    """Write a reply as it goes over the wire, and what happens behind it."""
    return f"``{reply.text}``" + (", and the connection is closed" if reply.closes else "")


class ReplyRole(SphinxRole):
    """``:reply:`MESSAGE_TOO_BIG``` writes what that reply says."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look it up; a name that does not exist fails the build."""
        text = getattr(replies, unescape(self.text)).text
        return [nodes.literal(text, text)], []


class LimitRole(SphinxRole):
    """``:limit:`recipients``` writes the default of that limit."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Look it up; a name that does not exist fails the build."""
        return [nodes.Text(figure(getattr(Limits(), unescape(self.text))))], []


def figure(value: object) -> str:
    """Write a number as prose does."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:,g}".replace(",", "\N{NO-BREAK SPACE}")
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


class OptionTable(SphinxDirective):
    """``.. option-table::`` lists `smtpcb.run.options.OPTIONS`."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        rows = [["Option", "Default", "What it says"]]
        for option in OPTIONS:
            value = f" {option.metavar or option.name.upper()}" if option.kind is not bool else ""
            rows.append([f"``--{option.name}{value}``", default_of(option), option.help])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 34 24 42")))


class NameTable(SphinxDirective):
    """``.. name-table::``: the name of each setting, in the places where it can be said."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        rows = [["In the file", "In the environment", "On the command line", "Per listener"]]
        for option in OPTIONS:
            own = "yes" if is_of_a_listener(option) else ""
            names = (option.name, option.variable, f"--{option.name}")
            rows.append([*(f"``{name}``" for name in names), own])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 28 32 28 12")))


def default_of(option: Option) -> str:
    """Write what an option is if it is not given."""
    if option.default is None and option.limit:
        return "``none``"
    if option.default is None or option.default is False or option.default == ():
        return ""
    values = option.default if option.many else (option.default,)
    return ", ".join(
        f"``{value:g}``" if isinstance(value, float) else f"``{value}``" for value in values
    )


class ReplyTable(SphinxDirective):
    """``.. reply-table::`` lists what the server says of itself."""

    def run(self) -> list[nodes.Node]:
        """Render the table as reStructuredText and parse that."""
        rows = [["Name", "What it says"]]
        for name, value in vars(replies).items():
            if isinstance(value, Reply):
                rows.append([f"``{name}``", reply_in_prose(value)])
        return self.parse_text_to_nodes("\n".join(list_table(rows, "   :widths: 36 64")))


class RfcIndex(SphinxDirective):
    """``.. rfc-index::`` says what is done about each RFC: a table for each."""

    def run(self) -> list[nodes.Node]:
        """Render the tables as reStructuredText and parse them."""
        import rfcs  # it stands beside this file

        lines: list[str] = []
        for rfc in rfcs.rfcs():
            heading = [["Section", "What", "Status", "Tests"]]
            table = list_table([*heading, *rfcs.rows(rfc)], "   :widths: 12 38 10 40")
            lines += [f".. rubric:: RFC {rfc.number}: {rfc.title}", "", f":rfc:`{rfc.number}`", ""]
            lines += [*table, ""]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    """Add the directives and roles above."""
    app.add_role("reply", ReplyRole())
    app.add_role("limit", LimitRole())
    app.add_directive("event-table", EventTable)
    app.add_directive("name-table", NameTable)
    app.add_directive("option-table", OptionTable)
    app.add_directive("rfc-index", RfcIndex)
    app.add_directive("state-list", StateList)
    app.add_directive("client-step-table", ClientStepTable)
    app.add_directive("client-state-list", ClientStateList)
    app.add_directive("state-table", StateTable)
    app.add_directive("step-table", StepTable)
    app.add_directive("reply-table", ReplyTable)
