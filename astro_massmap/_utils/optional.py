"""Packages that some users do without."""

from importlib import import_module


def require(module, extra):
    """Import ``module``, or say which extra of this package brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0].replace("_", "-")
        raise ImportError(
            f'{name} is needed for this: pip install {name}, or "astro_massmap[{extra}]" instead of astro_massmap'
        ) from error
