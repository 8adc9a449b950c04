"""Packages that some users do without."""

from importlib import import_module


def require(module, extra):
    """Import ``module``, or say which extra of this package brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{module.partition(".")[0]} is needed for this: pip install "astro_massmap[{extra}]"'
        ) from error
