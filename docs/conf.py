"""Settings of the documentation site: ``make docs``."""

import stacflask

project = "stacflask"
author = "The stacflask developers"
project_copyright = "The stacflask developers"
version = release = stacflask.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = f"stacflask {version}"
html_static_path: list[str] = []
templates_path: list[str] = []
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
napoleon_use_ivar = True
pygments_style = "default"
copybutton_prompt_text = "$ "
