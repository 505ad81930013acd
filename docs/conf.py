"""Sphinx builds the documentation as a site; see ``scripts/docs``. The pages are plain Markdown, good without it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from pygments.lexers import TextLexer
from sphinx.addnodes import pending_xref

import blobdir

if TYPE_CHECKING:
    from docutils.nodes import document
    from sphinx.application import Sphinx

project = "blobdir"
author = "The blobdir authors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx' name for it
version = release = blobdir.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["README.md"]  # index.rst includes it

# GitHub's anchors, four levels: scripts/check-docs holds the links against the same rules.
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # the tables of the benchmarks have headings of one level

default_role = "code"  # one backtick in a docstring is code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "blobdir"
html_copy_source = False
html_show_sphinx = False

# Files of the repository outside docs/, without their suffix -> the page that includes them.
OUTSIDE = {
    "../CHANGELOG": "changelog",
    "../README": "index",
    "../benchmarks/README": "benchmarks",
}


def lead_inside(app: Sphinx, doctree: document) -> None:
    """Lead links to files outside docs/ to the pages that include them."""
    for reference in doctree.findall(pending_xref):
        if reference.get("refdomain") == "doc":
            target = posixpath.relpath(str(reference["reftarget"]), str(app.srcdir))
            if target in OUTSIDE:
                reference["reftarget"] = OUTSIDE[target]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is above."""
    app.add_lexer("fstab", TextLexer)
    app.connect("doctree-read", lead_inside)
    return {"parallel_read_safe": True}
