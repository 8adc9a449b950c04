"""Configuration of Sphinx. Set DOCS_OFFLINE=1 to build where the documentation of other projects is out of reach."""

import os

from docutils import nodes
from sphinx_astropy.conf.v3 import *  # noqa: F403
from sphinx_astropy.conf.v3 import extensions, intersphinx_mapping

import astro_massmap

project = "astro_massmap"
author = "The astro_massmap developers"
copyright = f"2026, {author}"
version = release = astro_massmap.__version__

exclude_patterns = ["_build", "gallery", "tables"]  # tables are included
extensions = [*extensions, "matplotlib.sphinxext.plot_directive", "sphinx_gallery.gen_gallery"]
plot_formats = [("png", 110)]
plot_html_show_formats = plot_html_show_source_link = False
nitpicky = True
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_default_options = {"no-value": True}  # of attributes: that of a field without a default is no value
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"/plot_" if "MASSMAP_DATA" in os.environ else r"/plot_(?!cosmos)",
    "abort_on_example_error": True,
    "ignore_repr_types": "matplotlib|WCSAxes",
    "remove_config_comments": True,
    "download_all_examples": False,
    "min_reported_time": 3600,
    "show_signature": False,
}
automodapi_toctreedirnm = "api"
automodsumm_inherited_members = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
html_title = project
html_theme_options = {"goatcounter_analytics_url": ""}  # whoever reads these pages is not counted
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_context = {"default_mode": "auto"}  # of the colours: without, the theme complains in the browser's console

for unused in ("pythonloc", "astropy.org", "h5py"):
    intersphinx_mapping.pop(unused, None)
intersphinx_mapping |= {
    "torch": ("https://docs.pytorch.org/docs/stable/", None),
    "regions": ("https://astropy-regions.readthedocs.io/en/stable/", None),
}
if os.environ.get("DOCS_OFFLINE"):
    nitpick_ignore_regex = [("py:.*", rf"{name}(\..*)?") for name in intersphinx_mapping]
    nitpick_ignore_regex += [("py:.*", r"(None|bool|dict|float|int|list|object|str|tuple)")]
    nitpick_ignore_regex += [("py:.*", r"(ValueError|TypeError|OSError|ImportError)")]
    nitpick_ignore_regex += [("py:.*", r"(concurrent\.futures\..*Executor|pickle)")]
    intersphinx_mapping = {}


def box_images(app, doctree, docname):
    """Put pictures that stand in no figure in a box that narrow.css lets scroll; thumbnails are without words."""
    if app.builder.format != "html":
        return
    images = [n for n in doctree.findall() if n.tagname in ("image", "imgsgnode") and n.get("alt")]
    for image in [n for n in images if not isinstance(n.parent, nodes.figure | nodes.TextElement)]:
        start, end = (nodes.raw("", tag, format="html") for tag in ('<div class="scroll">', "</div>"))
        image.replace_self([start, image, end])


def setup(app):
    app.connect("doctree-resolved", box_images)
