"""How the documents are built: `sphinx-build -W -b html docs build/docs`."""

import re
from pathlib import Path
from typing import Any

project = "asyncjobs"
project_copyright = "the asyncjobs authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_generated/README.md"]
html_theme = "furo"
html_title = "asyncjobs"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
default_role = "code"  # in docstrings: `enqueue` is a name
napoleon_custom_sections = [("Options", "params_style")]
add_module_names = False
python_maximum_signature_line_length = 100


def setup(app: Any) -> None:
    """Have links that lead out of the documents, as to SECURITY.md, give the file: Sphinx has no page of it."""
    app.connect("source-read", _give_files)


def _give_files(app: Any, name: str, source: list[str]) -> None:
    documents = Path(app.srcdir)

    def given(link: re.Match[str]) -> str:
        file = (documents / name).parent.joinpath(link[2]).resolve()
        inside = file.is_relative_to(documents.resolve())
        return link[0] if inside or not file.is_file() else f"{{download}}`{link[1]} <{link[2]}>`"

    source[0] = re.sub(r"\[([^\]`]+)\]\((\.\./[^)#]+)\)", given, source[0])
