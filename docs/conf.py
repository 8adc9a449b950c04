"""Configuration of Sphinx. Set DOCS_OFFLINE=1 to build where the documentation of other projects is out of reach."""

import os

from sphinx_astropy.conf.v3 import *  # noqa: F403
from sphinx_astropy.conf.v3 import extensions, intersphinx_mapping

import astro_massmap

project = "astro_massmap"
author = "The astro_massmap developers"
copyright = f"2026, {author}"
version = release = astro_massmap.__version__

exclude_patterns = ["_build", "gallery"]
extensions = [*extensions, "matplotlib.sphinxext.plot_directive", "sphinx_gallery.gen_gallery"]
plot_formats = [("png", 110)]
plot_html_show_formats = plot_html_show_source_link = False
nitpicky = True
# of a private field, and annotations of names that are imported for type checkers alone
nitpick_ignore = [("py:class", name) for name in ("astro_massmap.simulation.map_files.Layout", "u.Quantity", "FLRW")]
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 3600,
    "show_signature": False,
}
automodapi_toctreedirnm = "api"
automodsumm_inherited_members = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
html_title = project

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
    intersphinx_mapping = {}
