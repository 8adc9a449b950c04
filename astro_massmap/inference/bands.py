"""Bands of ell on the modes of a box."""

import torch


class Bands:
    """
    Bands of ell on the modes of a grid, of equal width in log(ell) or with given edges.

    Parameters
    ----------
    grid : `~astro_massmap.inference.FourierGrid`
        Grid of the modes.
    n : int, optional
        Number of bands of equal width in log(ell) from the lowest ell of the box, which contain all modes, at most 255.
    edges : array-like, optional
        Edges of the bands in ell, increasing, instead of ``n``. Modes outside of the edges, and the mean, are in no
        band: their number is that of the bands.

    Attributes
    ----------
    number : `torch.Tensor`
        Number of the band of each mode, ``(ny, nx // 2 + 1)``, in eight bits.
    count : `torch.Tensor`
        Number of modes in each band, ``(n,)``, in double precision; zero for empty bands.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import Bands, FourierGrid, Streams
    >>> grid = FourierGrid((64, 64), 1.2e-4)
    >>> bands = Bands(grid, 3)
    >>> power = bands.mean_square(grid.to_modes(Streams(0, range(4)).normal(64, 64)))
    >>> tuple(power.shape), bool(((power - 1).abs() < 5 * (2 / bands.count).sqrt()).all())
    ((4, 3), True)
    """

    def __init__(self, grid, n=None, *, edges=None):
        self.grid, self.n = grid, n if edges is None else len(edges) - 1
        number = self._of_equal_width() if edges is None else self._between(edges)
        self.number = grid.pointwise(number, grid.ly).to(grid.device)
        self.count = self._sums(lambda rows: grid.multiplicity.expand(self.number[rows].shape)[None])[0]

    def _of_equal_width(self):
        """Return the function from wave numbers along y to the numbers of bands of equal width."""
        grid, n = self.grid, self.n
        low = grid.longest
        high = torch.hypot(grid.lx.abs().max(), grid.ly.abs().max()) * (1 + 1e-9)

        def number(ly):
            ell = torch.hypot(grid.lx, ly).clamp(min=low)
            position = torch.log(ell / low) / torch.log(high / low) * n
            return position.long().clamp(0, n - 1).to(torch.uint8)

        return number

    def _between(self, edges):
        """Return the function from wave numbers along y to the numbers of bands with these edges."""
        self.edges, n = torch.as_tensor(edges, dtype=torch.float64, device="cpu"), self.n

        def number(ly):
            ell = torch.hypot(self.grid.lx, ly)
            band = torch.bucketize(ell, self.edges, right=True) - 1
            return torch.where((band < 0) | (band >= n) | (ell == 0), n, band).to(torch.uint8)

        return number

    @property
    def ell(self):
        """Mean ell of the modes of each band, ``(n,)``; NaN for empty bands."""
        weighted = self.grid.real(self.grid.ell * self.grid._multiplicity)
        return self._sums(lambda rows: weighted[rows][None])[0] / self.count

    def mean_square(self, modes, variance=None):
        """
        Compute the mean square of modes ``(n_maps, ny, nx // 2 + 1)`` in bands, ``(n_maps, n)``, in double precision.

        Squares are divided by ``variance``, ``(ny, nx // 2 + 1)``, if it is given.
        """

        def square(rows):
            power = modes[:, rows].real.square() + modes[:, rows].imag.square()
            return (power if variance is None else power / variance[rows]) * self.grid.multiplicity

        return self._sums(square) / self.count

    def _sums(self, function):
        """Sum over the modes of each band; ``function`` returns some rows, ``(n_maps, rows, nx // 2 + 1)``."""
        sums = 0.0
        for rows in self.grid.pieces():
            values = function(rows).flatten(1).to(self.grid.sum_dtype)
            zeros = torch.zeros((len(values), self.n + 1), dtype=values.dtype, device=values.device)
            # a tenth of the time of index_add_
            sums = sums + zeros.scatter_add_(1, self.number[rows].flatten().long().expand(values.shape), values)
        return sums[:, : self.n]
