"""Every public name has a docstring, with an example that the doctests run."""

import importlib
import inspect
import pkgutil
import re

import astro_massmap


def public_modules():
    """Return the package and its public modules and subpackages, those with a list of names."""
    found = pkgutil.walk_packages(astro_massmap.__path__, "astro_massmap.")
    names = [m.name for m in found if not re.search(r"\._|\.cli", m.name)]
    modules = [importlib.import_module(name) for name in names]
    return [astro_massmap, *(module for module in modules if hasattr(module, "__all__"))]


def public_names():
    """Classes and functions, each once, by their first public name."""
    found = {}
    for module in public_modules():
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(id(thing), (f"{module.__name__}.{name}", thing))
    return dict(found.values())


NAMES = public_names()


def test_the_search_finds_names_of_the_package_and_of_modules():
    assert {"astro_massmap.ShearCatalog", "astro_massmap.inference.run_chains"} <= NAMES.keys()
    assert len(NAMES) > 150


def has_example(thing):
    _, _, example = (inspect.getdoc(thing) or "").partition("Examples\n--------")
    return ">>> " in example


def undocumented(kind):
    """Return the public members of a class, defined in the package, that have no docstring."""
    for key, member in inspect.getmembers(kind, lambda m: inspect.isroutine(m) or isinstance(m, property)):
        module = getattr(getattr(member, "fget", member), "__module__", None) or ""
        if not key.startswith("_") and module.startswith("astro_massmap") and not inspect.getdoc(member):
            yield key


def test_public_names_have_examples():
    assert [name for name, thing in NAMES.items() if not has_example(thing)] == []


def test_public_methods_have_docstrings():
    classes = {name: thing for name, thing in NAMES.items() if inspect.isclass(thing)}
    assert [f"{name}.{key}" for name, kind in classes.items() for key in undocumented(kind)] == []
