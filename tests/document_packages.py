"""The packages that the examples of a document import: without one of them the document is skipped, not failed."""

import importlib.util
import re


def imported_packages(text):
    """Return the top-level packages that doctests in a text import; nnpy.sklearn counts as sklearn."""
    modules = re.findall(r"^(?:>>>|\.\.\.) +(?:import|from) +([\w., ]+)", text, flags=re.MULTILINE)
    names = {name.strip() for line in modules for name in line.partition(" import ")[0].split(",")}
    return {"sklearn" if name.startswith("nnpy.sklearn") else name.split()[0].partition(".")[0] for name in names}


def missing_packages(path):
    """Return those of the packages that are not installed."""
    return sorted(
        name for name in imported_packages(path.read_text(encoding="utf-8")) if not importlib.util.find_spec(name)
    )
