"""How the documents are built: `sphinx-build -W -b html docs build/docs`."""

project = "asyncjobs"
copyright = "the asyncjobs authors"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_generated/README.md"]
html_theme = "furo"
html_title = "asyncjobs"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
