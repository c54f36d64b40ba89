"""How Sphinx builds the manual: make docs.

The pages are Markdown, which sites that host repositories show as well; so links between them, and from them to other
files of the repository, are plain relative paths.
"""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parent.parent
# The pages that show files outside docs/.
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "CHANGELOG.md": "changelog",
    "SECURITY.md": "security",
}

project = "nnpy"
version = release = importlib.metadata.version("nnpy")
html_title = f"nnpy {version}"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(keras|onnx|sklearn|torch)\..*")]  # their own manuals have these

# Markdown. Links may name headings as on GitHub: page.md#the-heading.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

# Notebooks run at each build, and an error in one is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

# The reference: what numpydoc makes of the docstrings. They have the types of arguments, so that signatures need none.
default_role = "py:obj"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "all",
    *("SA01", "ES01", "EX01"),  # except: sections that not every docstring needs
    *("RT02", "PR01", "PR03", "PR04"),  # results have names; what attributes or another method say is not repeated
    *("SS02", "PR08", "PR09"),  # a formula or scikit-learn's name may come first, brackets last
}
numpydoc_validation_exclude = {r"nnpy\.reference\.", r"\.set_\w+_request$"}

html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


class LinksOutOfTheManual(SphinxTransform):
    """Turn links to files outside docs/ into links to the page that includes the file, or to a copy of the file.

    Links to folders become text. MyST itself copies files that are no Markdown.
    """

    default_priority = 100

    def apply(self, **_: Any) -> None:
        """Change the links of a page."""
        page = Path(self.env.doc2path(self.env.docname))
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link["reftype"] != "myst":
                continue
            if link["refdomain"] is None and (page.parent / link["reftarget"]).is_dir():
                link.replace_self(link.children)
            elif link["refdomain"] == "doc" and link["reftarget"] not in self.env.found_docs:
                path = Path(self.env.srcdir, f"{link['reftarget']}.md").resolve().relative_to(ROOT)
                if path.as_posix() in PAGES:
                    link["reftarget"] = PAGES[path.as_posix()]
                    continue
                target = f"/{Path('..') / path}"
                copy = addnodes.download_reference("", "", *link.children, refdoc=link["refdoc"], reftarget=target)
                link.replace_self(copy)


def show_arguments_as_code(app: Any, env: Any, node: nodes.Element, content: nodes.Node) -> nodes.Node | None:
    """Show `words` that name no class, method or function as they are: numpydoc marks arguments and results so, too.

    Words with a capital letter or a dot are always names that have to be found.
    """
    is_argument = node.get("reftype") == "obj" and re.fullmatch(r"[a-z_][a-z0-9_]*", node["reftarget"])
    return content if is_argument else None


def keep_initials(*arguments: Any) -> None:
    """Escape the first initial of "Y. LeCun" at the beginning of a line: it is no item Y of a list."""
    lines = arguments[-1]  # of the docstring
    lines[:] = [re.sub(r"^(\s*(?:\.\. \[[\w-]+\] )?)([A-Z]\. )", r"\1\\\2", line) for line in lines]


def restore_reference_numbers(app: Any, document: nodes.document) -> None:
    """Write [1] in the text again: numpydoc gives each number a unique prefix, and removes it in the list only."""
    for link in document.findall(addnodes.pending_xref):
        if link["refdomain"] == "citation":
            link[:] = [nodes.inline("", re.sub(r"^\[?R[0-9a-f]+-(\w+)\]?$", r"[\1]", link.astext()))]


def setup(app: Any) -> None:
    """Connect the above to Sphinx."""
    app.add_transform(LinksOutOfTheManual)
    app.connect("autodoc-process-docstring", keep_initials, priority=900)  # after numpydoc
    app.connect("doctree-read", restore_reference_numbers, priority=900)
    app.connect("missing-reference", show_arguments_as_code)
