"""
Joint posterior of a Gaussian random field and of its power spectrum, by Gibbs sampling.

The prior variance of the modes in a band b is ``a_b S``, with a known variance S and an unknown amplitude a_b, whose
prior density is ``a_b^-k`` between two limits. A step draws

1. the modes x given the amplitudes and the data, an exact sample of the Gaussian posterior (Wandelt et al. 2004);
2. the amplitude of each band given the modes: an inverse gamma density, ``a^(-n/2 - k) exp(-beta / a)`` for the n modes
   of the band and ``beta = sum |x|^2 / 2 S``;
3. the amplitude given the *whitened* modes ``x / sqrt(a S)`` and the data: the modes are multiplied by
   ``sqrt(a' / a)``, with the probability of the change of chi^2 (Jewell et al. 2009).

Step 2 alone moves by the cosmic variance of a band. Where noise dominates, the posterior is much wider than this, and
step 3 moves freely; step 2 and 3 together mix at any signal to noise (interweaving, Yu & Meng 2011). For the modes x_b
of the bands, chi^2 is a quadratic form of their factors, with the matrix ``(P x_b)' N^-1 (P x_c)``: once it is known,
steps 2 and 3 take no time and are repeated. They use slice sampling in log(a) (Neal 2003), which has no parameter.
"""

import math

import numpy as np
import torch

_SWEEPS = 4  # repetitions of the steps 2 and 3


class SpectrumGibbs:
    """
    Gibbs sampler of the modes of a map and of the amplitudes of its power spectrum in bands.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Data, and prior variance S of the modes for amplitudes of 1, which modes outside of the bands keep.
    bands : `~astro_massmap.inference.Bands`
        Bands without empty ones.
    limits : tuple of float
        Lowest and highest amplitude.
    k : float
        Power of the prior density ``a^-k``: 0 is uniform in the amplitude, 1 in its logarithm.

    Attributes
    ----------
    iterations, residual
        Largest number of iterations and largest residual of all linear systems so far.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import Bands, GaussianPosterior, Observation, SpectrumGibbs
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> gibbs = SpectrumGibbs(posterior, Bands(posterior.grid, edges=[0, 6000, 40000]), limits=(0.01, 100))
    >>> amplitudes, modes = gibbs.step(observation.streams(0, range(3)), np.ones((3, 2)))
    >>> amplitudes.shape, modes.shape
    ((3, 2), torch.Size([3, 32, 17]))
    """

    def __init__(self, posterior, bands, *, limits, k=0.0):
        self.posterior, self.bands, self.k = posterior, bands, k
        self._low, self._high = (math.log(limit) for limit in limits)
        self._n = bands.count.cpu().numpy()
        self._data = posterior.operator.adjoint(posterior.weight * posterior.shear)[None]
        self.iterations, self.residual = 0, 0.0

    def variance(self, amplitudes):
        """Return the prior variance of the modes, ``(..., ny, nx // 2 + 1)``, for amplitudes ``(..., bands)``."""
        grid = self.posterior.grid
        factors = np.concatenate([amplitudes, np.ones((*np.shape(amplitudes)[:-1], 1))], axis=-1)
        factors = grid.real(torch.from_numpy(factors))
        return grid.pointwise(
            lambda number, variance: factors[..., number.int()] * variance,
            self.bands.number,
            self.posterior.prior_variance,
        )

    def given(self, amplitudes):
        """Return the Gaussian posterior for amplitudes ``(..., bands)``."""
        return self.posterior.given(self.posterior.weight, self.variance(amplitudes))

    def step(self, streams, amplitudes):
        """
        Make a step of chains, one for each stream.

        Parameters
        ----------
        streams : `~astro_massmap.inference.Streams`
            Random numbers of the n chains.
        amplitudes : ndarray
            Amplitudes ``(n, bands)``.

        Returns
        -------
        amplitudes, modes : ndarray, `torch.Tensor`
            New amplitudes ``(n, bands)``, and modes ``(n, ny, nx // 2 + 1)``, a joint sample.
        """
        posterior = self.given(amplitudes)
        modes = posterior.solve(self._data + posterior.fluctuation_source(streams))
        self.iterations = max(self.iterations, posterior.iterations)
        self.residual = max(self.residual, posterior.residual)
        beta = self._half_squares(modes)
        matrix, vector = self._chi2(modes)
        seeds = (streams.uniform() * 2**53).long().tolist()
        new, factors = zip(
            *map(self._amplitudes, np.log(amplitudes), beta, matrix, vector, map(np.random.default_rng, seeds)),
            strict=True,
        )
        modes = self._times(modes, np.stack(factors))
        return np.exp(np.stack(new)), modes

    def _half_squares(self, modes):
        """Return ``beta`` of the bands, ``(n, bands)``."""
        return (self.bands.mean_square(modes, self.posterior.prior_variance) * self.bands.count / 2).cpu().numpy()

    def _times(self, modes, factors):
        """Multiply the modes of each band by a factor, ``(n, bands)``."""
        factors = np.concatenate([factors, np.ones((len(factors), 1))], axis=1)
        factors = self.posterior.grid.real(torch.from_numpy(factors))
        return self.posterior.grid.pointwise(
            lambda number, modes: factors[:, number.int()] * modes, self.bands.number, modes
        )

    def _chi2(self, modes):
        """Return A ``(n, bands, bands)`` and c ``(n, bands)`` of ``chi^2 = q A q - 2 c q + const`` for factors q."""
        p, grid = self.posterior, self.posterior.grid
        root = p.weight.sqrt()
        white = torch.stack(
            [root * p.operator.forward(modes * (self.bands.number == b)) for b in range(self.bands.n + 1)], dim=1
        )
        residual = root * p.shear - white[:, -1]  # the modes outside of the bands do not change
        white = white[:, :-1]
        matrix, vector = 0.0, 0.0
        for rows in grid.pieces(-2, white.shape[-2]):
            part, data = (x[..., rows, :].to(grid.sum_dtype) for x in (white, residual))
            matrix = matrix + torch.einsum("nbcij,ndcij->nbd", part, part)
            vector = vector + torch.einsum("nbcij,ncij->nb", part, data)
        return matrix.cpu().numpy(), vector.cpu().numpy()

    def _amplitudes(self, u, beta, matrix, vector, rng):
        """Repeat the steps 2 and 3; return the logarithms of the amplitudes and the factors of the modes."""
        u, q = u.copy(), np.ones_like(u)
        exp = math.exp
        for _ in range(_SWEEPS):
            for b in range(len(u)):
                n, square = 1 - self.k - self._n[b] / 2, beta[b] * q[b] ** 2
                u[b] = self._slice(lambda v: n * v - square * exp(-v), u[b], rng)
                a, c = matrix[b, b], vector[b] - matrix[b] @ q + matrix[b, b] * q[b]
                old, factor = u[b], q[b]

                def given_white(v):
                    new = factor * exp((v - old) / 2)
                    return (1 - self.k) * v + new * (c - a * new / 2)

                u[b] = self._slice(given_white, old, rng)
                q[b] = factor * exp((u[b] - old) / 2)
        return u, q

    def _slice(self, log_density, u, rng):
        """Draw from a density of one variable between the limits by a slice sampler that starts from both limits."""
        level = log_density(u) - rng.exponential()
        low, high = self._low, self._high
        while True:
            v = rng.uniform(low, high)
            if log_density(v) >= level:
                return v
            if v < u:
                low = v
            else:
                high = v
