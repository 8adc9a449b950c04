"""The commands in README and documentation are valid."""

import re
import shlex
from pathlib import Path

from astro_massmap.cli import _parser

from helpers.cases import each_case

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "docs/gallery").glob("*.py"))]


def commands(page):
    """Yield the commands ``massmap``; those with an ellipsis are excluded."""
    text = re.sub(r"^# ?", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"\s*\\\n\s*", " ", text)
    for line in re.findall(r"^ {4,}(.*)$", text, flags=re.MULTILINE):
        for part in line.split("&&"):
            found = re.match(r"(?:torchrun .*-m astro_)?massmap (?!COMMAND)(.*)$", part.strip())
            if found and "..." not in part:
                yield found[1]


COMMANDS = [(page.name, command) for page in PAGES for command in commands(page)]


def test_pages_contain_commands():
    assert len(COMMANDS) > 30
    assert len({command.split()[0] for _, command in COMMANDS}) > 8


@each_case(("page", "command"), COMMANDS)
def test_commands_can_be_parsed(page, command):
    _parser().parse_args(shlex.split(command, comments=True))
