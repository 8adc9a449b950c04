"""The function through which every method runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .._utils.progress import write_line
from ..inference import one_thread
from . import provenance, reduced_shear as reduced
from .function import method_name
from .sources import for_sources, statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from ..inference import Observation
    from .base import Estimate, Method


def run(
    method: Method,
    observation: Observation,
    *,
    progress: bool = True,
    executor: Executor | None = None,
    cards: Sequence[tuple[str, Any]] = (),
    n_z: Any = None,
    reduced_shear: bool | str = False,
) -> Estimate:
    """
    Run a method and return its `Estimate`, with name, settings, versions, wall time and the record of the run.

    A method without a prior or spectrum of its own has the spectrum of ``n_z``, or the default one.

    Parameters
    ----------
    method : method object
        Method, such as ``Wiener()``.
    observation, progress, executor, cards
        As for `SampledMethod.solve <astro_massmap.methods.SampledMethod.solve>`.
    n_z : pair of array-like, optional
        Redshift distribution (z, n) of the sources.
    reduced_shear : {'auto', True, False}
        Treat the data as reduced shear, see `astro_massmap.methods.reduced_shear.solve`.

    Raises
    ------
    TypeError
        If there is an executor and the method has no chains.
    ValueError, OSError
        As the method's ``solve`` does.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires
    >>> from astro_massmap.inference import Observation
    >>> from astro_massmap.methods import run
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> estimate = run(KaiserSquires(), observation, progress=False)
    >>> estimate.diagnostics["method"], estimate.diagnostics["settings"]["smoothing"]
    ('KaiserSquires', '1.0 arcmin')
    """
    start = time.perf_counter()
    if executor is not None and not hasattr(method, "prepare"):
        raise TypeError(
            f"executor: needs a method that draws samples, got {method_name(method)}; use AnnealedHMC, which with "
            "GaussianPrior() draws from the posterior of Wiener()"
        )
    method, sources = for_sources(method, n_z)
    if progress and statement(sources):
        write_line(statement(sources))
    options: dict[str, Any] = {} if executor is None else {"executor": executor}
    if getattr(method, "checkpoint", None) is not None:
        options["cards"] = cards
    with one_thread():  # several chains at a time: two threads of one chain would wait for each other
        estimate = reduced.solve(method, observation, reduced_shear, progress=progress, **options)
        estimate.diagnostics |= {
            "method": method_name(method),
            "settings": provenance.settings_of(method),
            "versions": dict(provenance.versions()),
            "wall_time": time.perf_counter() - start,
            "sources": sources,
        }
        estimate.provenance = provenance.record(method, observation, estimate.diagnostics)
    return estimate
