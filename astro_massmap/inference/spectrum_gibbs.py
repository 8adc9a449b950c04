"""
Joint posterior of a Gaussian random field and of its power spectrum, by Gibbs sampling.

The prior variance of the modes in a band b is ``a_b S``, with a known variance S and an unknown amplitude a_b, whose
prior density is ``a_b^-k`` between two limits. A step draws

1. the modes x given the amplitudes and the data, an exact sample of the Gaussian posterior (Wandelt et al. 2004);
2. three times, *completed data* z given x and the data, then a given z alone, and x given a and z. The completed data
   have the lowest noise of a pixel everywhere in the box, so that each mode is on its own (see `GaussianPosterior`):
   the density of a_b given z is a product over modes, with x marginalised, and x given z is known in closed form;
3. a given x, an inverse gamma density ``a^(-n/2 - k) exp(-beta / a)`` for the n modes of the band and
   ``beta = sum |x|^2 / 2 S``;
4. a given the *whitened* modes ``x / sqrt(a S)`` and the data: the modes are multiplied by ``sqrt(a' / a)``, with the
   probability of the change of chi^2 (Jewell et al. 2009). With A and c of the modes x_b of the bands, chi^2 is
   ``q A q - 2 c q`` plus a constant for factors q, so that the steps 3 and 4 take no time and are repeated four times.

Every step leaves the joint posterior unchanged. The steps 1 and 3 alone would be the Gibbs sampler of Wandelt et al.,
which moves by the cosmic variance of a band and is slow where noise dominates or the box is larger than the field.
Step 4 is fast at low signal to noise r (interweaving, Yu & Meng 2011), but takes some 1 / r steps in bands of many
modes, as x fixes its own amplitude. In step 2 only the pixels that complete the data slow the chain down.

A uniform shear of the field (see `GaussianPosterior`) is marginalised in the steps 1, 3 and 4, and drawn given x to
complete the data: there it is the shear of the whole box, which no mode of the map contains.

Densities of one variable are sampled in log(a) by a slice sampler (Neal 2003), which has no parameter.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

_COMPLETIONS, _SWEEPS = 3, 4  # repetitions of the step 2, and of the steps 3 and 4


class GibbsState(NamedTuple):
    """
    State of n chains after a step.

    ``amplitudes`` ``(n, bands)`` and ``modes`` ``(n, ny, nx // 2 + 1)`` are a joint sample; ``mean``, modes, and
    ``variance`` of a pixel ``(n,)`` are those of the map given the completed data and their amplitudes.

    Examples
    --------
    >>> from astro_massmap.inference import GibbsState
    >>> GibbsState._fields
    ('amplitudes', 'modes', 'mean', 'variance')
    """

    amplitudes: np.ndarray
    modes: torch.Tensor
    mean: torch.Tensor
    variance: np.ndarray


class SpectrumGibbs:
    """
    Gibbs sampler of the modes of a map and of the amplitudes of its power spectrum in bands.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Data, and prior variance S of the modes for amplitudes of 1, which modes outside of the bands keep.
    bands : `~astro_massmap.inference.Bands`
        Bands, none of them empty.
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
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import Bands, GaussianPosterior, Observation, SpectrumGibbs
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> gibbs = SpectrumGibbs(posterior, Bands(posterior.grid, edges=[0, 6000, 40000]), limits=(0.01, 100))
    >>> state = gibbs.step(observation.streams(0, range(3)), np.ones((3, 2)))
    >>> state.amplitudes.shape, state.modes.shape
    ((3, 2), torch.Size([3, 32, 17]))
    """

    def __init__(self, posterior, bands, *, limits, k=0.0):
        self.posterior, self.bands, self.k = posterior, bands, k
        self._log_limits = tuple(math.log(limit) for limit in limits)
        self._n = bands.count.cpu().numpy()
        self._data = posterior.operator.adjoint(posterior.marginalised(posterior.weight * posterior.shear))[None]
        self._power = posterior.operator.power
        self._modes = [self._of_band(b) for b in range(bands.n)]
        self.iterations, self.residual = 0, 0.0

    def _of_band(self, b):
        """Return places, ``|P|^2``, multiplicity and ``|P|^2 S`` of the modes of a band that the data contain."""
        grid = self.posterior.grid
        places = torch.nonzero(((self.bands.number == b) & (self._power > 0)).flatten())[:, 0]

        def values(modes):
            return modes.flatten()[places].cpu().double().numpy()

        power, multiplicity = values(self._power), values(grid.multiplicity.expand(self._power.shape))
        return places, power, multiplicity, power * values(self.posterior.prior_variance)

    def given(self, amplitudes):
        """Return the Gaussian posterior for amplitudes ``(..., bands)``."""
        return self.posterior.given(self.posterior.weight, self.variance(amplitudes))

    def variance(self, amplitudes):
        """Return the prior variance of the modes, ``(..., ny, nx // 2 + 1)``, for amplitudes ``(..., bands)``."""
        return self._times(self.posterior.prior_variance, amplitudes)

    def _times(self, modes, factors):
        """Multiply the modes of each band by a factor, ``(..., bands)``, and other modes by 1."""
        factors = np.concatenate([factors, np.ones((*np.shape(factors)[:-1], 1))], axis=-1)
        factors, grid = torch.from_numpy(factors).to(self.posterior.grid.dtype), self.posterior.grid
        factors = factors.to(grid.device)
        return grid.pointwise(lambda number, x: factors[..., number.int()] * x, self.bands.number, modes)

    def step(self, streams, amplitudes):
        """
        Make a step of n chains.

        Parameters
        ----------
        streams : `~astro_massmap.inference.Streams`
            Random numbers of the chains.
        amplitudes : ndarray
            Amplitudes ``(n, bands)``.

        Returns
        -------
        `GibbsState`
            Next state of the chains.
        """
        rngs = [np.random.default_rng(seed) for seed in (streams.uniform() * 2**53).long().tolist()]
        posterior = self.given(amplitudes)
        modes = posterior.solve(self._data + posterior.fluctuation_source(streams))
        self.iterations = max(self.iterations, posterior.iterations)
        self.residual = max(self.residual, posterior.residual)
        for _ in range(_COMPLETIONS):
            amplitudes, modes, mean, variance = self._complete(streams, rngs, amplitudes, modes)
        beta = (self.bands.mean_square(modes, self.posterior.prior_variance) * self.bands.count / 2).cpu().numpy()
        matrix, vector = self._chi2(modes)
        moved = [self._interweave(*parts) for parts in zip(np.log(amplitudes), beta, matrix, vector, rngs, strict=True)]
        new, factors = (np.stack(part) for part in zip(*moved, strict=True))
        return GibbsState(np.exp(new), self._times(modes, factors), mean, variance)

    # ---- completed data

    def _complete(self, streams, rngs, amplitudes, modes):
        """Draw completed data, then amplitudes and modes given them; see `GibbsState`."""
        p, grid = self.posterior, self.posterior.grid
        white, of_shear = (streams.normal(2, *shape, dtype=grid.dtype) for shape in (grid.box_shape, ()))
        completed = p.on_box.adjoint(p.completed_data(modes, white, of_shear))  # P^2 x and noise of variance P^2 tau
        square = completed.real.square() + completed.imag.square()
        amplitudes = np.exp([self._given_completed(*parts) for parts in zip(amplitudes, square, rngs, strict=True)])
        tau, prior = p.best_noise, self.variance(amplitudes)
        variance = grid.pointwise(lambda prior, power: 1 / (1 / prior + power / tau), prior, self._power)
        mean = grid.pointwise(lambda variance, z: variance * z / tau, variance, completed)
        white = grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
        modes = grid.pointwise(lambda mean, variance, white: mean + variance.sqrt() * white, mean, variance, white)
        return amplitudes, modes, mean, np.array([grid.pixel_variance(each) for each in variance])

    def _given_completed(self, amplitudes, square, rng):
        """Draw the logarithms of the amplitudes given the squares of the modes of completed data."""
        tau, k, square = self.posterior.best_noise, self.k, square.flatten()
        drawn = []
        for amplitude, (places, power, multiplicity, signal) in zip(amplitudes, self._modes, strict=True):
            data = square[places].cpu().double().numpy() / power

            def log_density(u, signal=signal, data=data, multiplicity=multiplicity):
                total = math.exp(u) * signal + tau
                return (1 - k) * u - float(multiplicity @ (np.log(total) + data / total)) / 2

            drawn.append(_slice_sample(log_density, math.log(amplitude), self._log_limits, rng))
        return drawn

    # ---- given the modes, and given the whitened modes

    def _chi2(self, modes):
        """Return A ``(n, bands, bands)`` and c ``(n, bands)`` of the factors of the modes."""
        p, grid = self.posterior, self.posterior.grid
        root = p.weight.sqrt()

        def whitened(shear):
            return root * (shear - p.uniform_shear(p.weight * shear))

        white = torch.stack(
            [whitened(p.operator.forward(modes * (self.bands.number == b))) for b in range(self.bands.n + 1)], dim=1
        )
        residual = whitened(p.shear) - white[:, -1]  # the modes outside of the bands do not change
        matrix, vector = 0.0, 0.0
        for rows in grid.pieces(-2, white.shape[-2]):
            part, data = (x[..., rows, :].to(grid.sum_dtype) for x in (white[:, :-1], residual))
            matrix = matrix + torch.einsum("nbcij,ndcij->nbd", part, part)
            vector = vector + torch.einsum("nbcij,ncij->nb", part, data)
        return matrix.cpu().numpy(), vector.cpu().numpy()

    def _interweave(self, u, beta, matrix, vector, rng):
        """Repeat the steps 3 and 4 for one chain; return logarithms of the amplitudes, and factors of the modes."""
        u, q, free = u.copy(), np.ones_like(u), 1 - self.k
        for _ in range(_SWEEPS):
            for b in range(len(u)):
                power, square = free - self._n[b] / 2, beta[b] * q[b] ** 2
                start = _slice_sample(
                    lambda v, p=power, s=square: p * v - s * math.exp(-v), u[b], self._log_limits, rng
                )
                a, c, factor = matrix[b, b], vector[b] - matrix[b] @ q + matrix[b, b] * q[b], q[b]

                def given_white(v, a=a, c=c, factor=factor, start=start):
                    new = factor * math.exp((v - start) / 2)
                    return free * v + new * (c - a * new / 2)

                u[b] = _slice_sample(given_white, start, self._log_limits, rng)
                q[b] = factor * math.exp((u[b] - start) / 2)
        return u, q


def _slice_sample(log_density, u, limits, rng):
    """Make a step from u by a slice sampler that shrinks the interval of the limits."""
    level, (low, high) = log_density(u) - rng.exponential(), limits
    while True:
        v = rng.uniform(low, high)
        if log_density(v) >= level or high - low < 1e-12:
            return v
        if v < u:
            low = v
        else:
            high = v
