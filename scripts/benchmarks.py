"""Writes one section of docs/benchmarks.md, and leaves all others as they are.

It must never know what was measured.
"""

import datetime
import os
import re

PAGE = "docs/benchmarks.md"


def measured_by(recipe):
    """How every section begins."""
    return f"Measured by `./dev {recipe}` on {datetime.date.today()}, {os.cpu_count()} cores, release builds"


def write(heading, about, rows):
    """Puts rows of (what, measured, aim) under a heading of the page, in its old place or at the end."""
    table = "| what | measured | aim |\n| --- | --- | --- |\n"
    table += "".join("| " + re.sub(r"(?<=\d),(?=\d{3})", " ", " | ".join(row)) + " |\n" for row in rows)
    section = f"## {heading}\n\n{about}\n\n{table}"
    with open(PAGE, encoding="utf-8") as page:
        head, *sections = re.split(r"^(?=## )", page.read(), flags=re.MULTILINE)
    titles = [text.partition("\n")[0] for text in sections]
    place = titles.index(f"## {heading}") if f"## {heading}" in titles else len(sections)
    sections[place:place + 1] = [section]
    whole = "\n\n".join(part.strip() for part in [head, *sections]) + "\n"
    with open(f"{PAGE}.new", "w", encoding="utf-8") as page:
        page.write(whole)
    os.replace(f"{PAGE}.new", PAGE)
    for row in rows:
        print(*row, sep="\t")
