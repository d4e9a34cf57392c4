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
default_role = "code"  # in docstrings: `enqueue` is a name
napoleon_custom_sections = [("Options", "params_style")]
add_module_names = False
python_maximum_signature_line_length = 100
