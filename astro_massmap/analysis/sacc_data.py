"""Power spectra in bands, with their covariance, as data of SACC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.optional import require
from .._utils.progress import warn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._utils.typing import Floats

__all__ = ["bands_to_sacc"]

_TYPE = "galaxy_shear_cl_ee"  # the E modes of the shear have the power of the convergence


def bands_to_sacc(low: ArrayLike, high: ArrayLike, samples: Floats, n_z: Any = None, tracer: str = "source_0") -> Any:
    """
    Return samples of a power spectrum in bands as data of SACC, with their mean and covariance.

    Parameters
    ----------
    low, high : array-like
        Edges of the bands in ell, ``(bands,)``.
    samples : ndarray
        Samples of C_ell ``(n_samples, bands)``, at least two. Bands with NaN are left out. A warning states that the
        covariance is singular if there are not more samples than bands.
    n_z : tuple of array-like, optional
        Redshift distribution (z, n) of the sources, for a tracer of the type NZ; without, it is of the type Misc.
    tracer : str
        Name of the tracer.

    Returns
    -------
    sacc.Sacc
        Data of the type ``galaxy_shear_cl_ee``. The window of a band is proportional to the number of modes, 2 ell + 1.

    Raises
    ------
    ImportError, ValueError
        If sacc is not installed, or there are fewer than two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.analysis.sacc_data import bands_to_sacc
    >>> samples = np.random.default_rng(1).normal(1e-9, 1e-10, (50, 2))
    >>> bands_to_sacc([100, 200], [200, 400], samples).covariance.covmat.shape  # doctest: +SKIP
    (2, 2)
    """
    sacc, samples = require("sacc", "bridges"), np.atleast_2d(np.asarray(samples, dtype=float))
    if len(samples) < 2:
        raise ValueError(f"samples: needs at least two for a covariance, got {len(samples)}")
    used = np.isfinite(samples).all(axis=0)
    low, high, samples = np.asarray(low, dtype=float)[used], np.asarray(high, dtype=float)[used], samples[:, used]
    if len(samples) <= len(low):
        warn(f"samples: the covariance of {len(low)} bands is singular, because there are only {len(samples)} samples")
    ell = np.arange(np.ceil(low.min()), np.ceil(high.max()))
    inside = (ell[:, None] >= low) & (ell[:, None] < high)
    weight = inside * (2 * ell[:, None] + 1)
    weight /= weight.sum(axis=0)
    found = sacc.Sacc()
    found.add_tracer(*(("Misc", tracer) if n_z is None else ("NZ", tracer, *n_z)))
    window = sacc.BandpowerWindow(ell, weight)
    found.add_ell_cl(_TYPE, tracer, tracer, ell @ weight, samples.mean(axis=0), window=window)
    found.add_covariance(np.cov(samples.T))
    return found
