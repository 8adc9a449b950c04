"""Configuration of Sphinx. Set DOCS_OFFLINE=1 to build without access to the documentation of other projects."""

import os

from docutils import nodes
from sphinx.ext.autosummary import autosummary_table

import astro_massmap

project = "astro_massmap"
author = "The astro_massmap developers"
copyright = f"2026, {author}"
version = release = astro_massmap.__version__

exclude_patterns = ["_build", "gallery", "tables"]  # tables are included by pages
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
    "numpydoc",
    "sphinx_copybutton",
    "pytest_doctestplus.sphinx.doctestplus",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
default_role = "obj"
nitpicky = True
autoclass_content = "both"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings contain the types
autodoc_default_options = {"no-value": True}  # attributes without their default values
automodapi_toctreedirnm = "api"
automodsumm_inherited_members = False
automodsumm_properties_are_attributes = False
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
plot_formats = [("png", 110)]
plot_html_show_formats = plot_html_show_source_link = False
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

html_theme = "pydata_sphinx_theme"
html_title = project
html_logo, html_favicon = "_static/logo.png", "_static/favicon.png"
html_static_path = ["_static"]
html_css_files = ["massmap.css"]
templates_path = ["_templates"]
html_sidebars = {"**": ["contents.html"]}
html_context = {"default_mode": "auto"}  # light or dark as the browser is set; required by the theme
html_theme_options = {
    "logo": {"text": project, "alt_text": "Shear sticks around a peak of a convergence map"},
    "navbar_center": [],
    "footer_start": ["copyright"],
    "footer_end": [],
}

intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", None),
    "numpy": ("https://numpy.org/doc/stable/", None),
    "scipy": ("https://docs.scipy.org/doc/scipy/", None),
    "matplotlib": ("https://matplotlib.org/stable/", None),
    "astropy": ("https://docs.astropy.org/en/stable/", None),
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
    """Put images outside figures into a box that massmap.css lets scroll. Thumbnails have no alt text and stay."""
    if app.builder.format != "html":
        return
    images = [n for n in doctree.findall() if n.tagname in ("image", "imgsgnode") and n.get("alt")]
    for image in [n for n in images if not isinstance(n.parent, nodes.figure | nodes.TextElement)]:
        start, end = (nodes.raw("", tag, format="html") for tag in ('<div class="scroll">', "</div>"))
        image.replace_self([start, image, end])


def drop_signatures(app, doctree, docname):
    """Reduce the first column of summary tables to names: Sphinx makes the lines of the signatures unbreakable."""
    for table in doctree.findall(autosummary_table):
        for row in table.findall(nodes.row):
            name = row[0][0]
            name[:] = [child for child in name if not isinstance(child, nodes.Text)]


def set_plot_folder(app, config):
    """Let the examples of plot directives write their files to the build folder."""
    config.plot_working_directory = str(app.doctreedir)


def setup(app):
    app.connect("config-inited", set_plot_folder)
    app.connect("doctree-resolved", box_images)
    app.connect("doctree-resolved", drop_signatures)
