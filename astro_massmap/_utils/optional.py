"""Import optional dependencies."""

from importlib import import_module


def require(module, extra):
    """Import ``module``; ImportError with the extra of this package that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0].replace("_", "-")
        raise ImportError(
            f'{name} is not installed: pip install {name}, or "astro_massmap[{extra}]" instead of astro_massmap'
        ) from error
