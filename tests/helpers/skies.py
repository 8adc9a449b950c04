"""Grids, halos and dense matrices as references for tests, written without the formulas of the package."""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates, spline_filter

from astro_massmap import PowerSpectrum


def tan_wcs(shape, *, scale=0.4, center=(150.0, 2.2), rotation=0.0, flipped=False, projection="TAN", frame="RADEC"):
    """WCS of a grid with its reference at the centre; ``rotation`` in degrees, ``scale`` in arcmin."""
    wcs = WCS(naxis=2)
    names = ("RA--", "DEC-") if frame == "RADEC" else ("GLON", "GLAT")
    wcs.wcs.ctype = [f"{name}-{projection}" for name in names]
    wcs.wcs.crval = center
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([1 if flipped else -1, 1]) * scale / 60
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs


def halo_shear(coords, center, *, scale_radius=1.5 * u.arcmin, kappa_s=0.3):
    """
    Compute the tangential shear (complex, x to the West, y to the North) of an NFW halo (Wright & Brainerd 2000).

    ``kappa_s = rho_s r_s / Sigma_crit``; gamma_t(r) = (mean kappa within r) - kappa(r).
    """
    x = np.maximum(coords.separation(center) / scale_radius, 1e-4).to_value(u.one)
    x = np.where(np.abs(x - 1) < 1e-4, 1 + 1e-4, x)
    root = np.sqrt(np.abs(1 - x**2))
    arc = np.where(x < 1, np.arctanh(np.minimum(root, 1 - 1e-15)), np.arctan(root)) / root
    kappa = 2 * kappa_s * (1 - arc) / (x**2 - 1)
    gamma_t = 4 * kappa_s * (np.log(x / 2) + arc) / x**2 - kappa
    towards = coords.position_angle(center).rad  # from North through East, at the galaxy
    # The image is stretched across the line to the centre; North is at 90 degrees from West, East at 180.
    return -gamma_t * np.exp(2j * (towards + np.pi / 2))


def scatter(wcs, shape, n, seed=0):
    """Draw ``n`` random positions on a grid."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, shape[1] - 0.5, n), rng.uniform(-0.5, shape[0] - 0.5, n)
    coords = wcs.pixel_to_world(x, y)
    return SkyCoord(coords.spherical.lon, coords.spherical.lat, frame=coords.frame.name)


def dense_problem(field, box, pixel_size, spectrum, noise_std):
    """
    Compute dense matrices of the Gaussian problem by explicit complex Fourier sums.

    Return the prior covariance of the pixels of the box, the matrix from them to both components of
    the shear in pixels with data, the noise variance there, and the pixels of the box in the field and with data.
    """
    ny, nx = box
    jy, jx = (a.ravel() for a in np.mgrid[:ny, :nx])
    ky, kx = ((a + n // 2) % n - n // 2 for a, n in ((jy, ny), (jx, nx)))
    dft = np.exp(-2j * np.pi * (np.outer(ky, jy) / ny + np.outer(kx, jx) / nx)) / np.sqrt(ny * nx)
    l1, l2 = 2 * np.pi * kx / (nx * pixel_size), 2 * np.pi * ky / (ny * pixel_size)
    square = l1**2 + l2**2
    ell = np.sqrt(np.where(square > 0, square, square[square > 0].min()))
    square = np.where(square > 0, square, 1)
    p1 = (l1**2 - l2**2) / square
    nyquist = ((ny % 2 == 0) & (np.abs(ky) == ny / 2)) | ((nx % 2 == 0) & (np.abs(kx) == nx / 2))
    p2 = np.where(nyquist, 0, 2 * l1 * l2 / square)

    def operator(multiplier):
        return (dft.conj().T @ (multiplier[:, None] * dft)).real

    in_field = (jy < field[0]) & (jx < field[1])
    noise = np.full(box, np.inf)
    noise[: field[0], : field[1]] = noise_std
    seen = np.isfinite(noise.ravel())
    shear = np.concatenate([operator(p1)[seen], operator(p2)[seen]])
    return operator(spectrum(ell) / pixel_size**2), shear, np.tile(noise.ravel()[seen] ** 2, 2), in_field, seen


class SphericalSky:
    """
    Gaussian convergence on the sphere around a centre, with its exact shear, for galaxies at any position.

    The lensing potential psi is a Gaussian field in the stereographic plane around the centre, East and North, which is
    conformal: lengths on the sphere are Omega = 1 / (1 + rho^2 / 4) times those of the plane. With the covariant
    derivatives D of this metric, kappa = (D_pp + D_qq) / 2, gamma_1 = (D_pp - D_qq) / 2 and gamma_2 = D_pq, in axes
    along p and q. The spectrum is the default one, up to factors of the order of 1 - Omega. ``side`` and ``pixel`` are
    those of the plane, which is periodic, and ``beam`` the standard deviation of a Gaussian, in arcmin.
    """

    def __init__(self, center, *, side, pixel, seed, beam=0.0):
        self.center, self.side, n = center, side, round(side / pixel)
        self._pixel = np.radians(side / n / 60)
        white = np.fft.rfft2(np.random.default_rng(seed).normal(size=(n, n)))
        p, q = 2 * np.pi * np.fft.rfftfreq(n, self._pixel), 2 * np.pi * np.fft.fftfreq(n, self._pixel)[:, None]
        ell = np.hypot(p, q)
        ell[0, 0] = 1
        kappa = white * np.sqrt(PowerSpectrum.default()(ell)) / self._pixel
        kappa *= np.exp(-((ell * np.radians(beam / 60)) ** 2) / 2)
        kappa[0, 0] = 0
        psi = -2 * kappa / ell**2
        parts = kappa, 1j * p * psi, 1j * q * psi, -(p**2 - q**2) * psi, -p * q * psi
        self._maps = [spline_filter(np.fft.irfft2(part, s=(n, n)), mode="grid-wrap") for part in parts]

    def _at(self, p, q, map_):
        places = np.array([q, p]) / self._pixel
        return map_coordinates(map_, places, mode="grid-wrap", prefilter=False)

    def _plane(self, coords):
        """Return p, q of positions."""
        theta, phi = self.center.separation(coords).rad, self.center.position_angle(coords).rad
        rho = 2 * np.tan(theta / 2)
        return rho * np.sin(phi), rho * np.cos(phi)

    def convergence(self, coords):
        p, q = self._plane(coords)
        return self._at(p, q, self._maps[0]) * (1 + (p**2 + q**2) / 4) ** 2

    def observe(self, x, y):
        """Return positions and shear (complex, axes West and North) at x, y in arcmin, East and North of the centre."""
        p, q = np.radians(np.array([x, y]) / 60)
        rho, angle = np.hypot(p, q), np.arctan2(p, q)
        coords = self.center.directional_offset_by(angle * u.rad, 2 * np.arctan(rho / 2) * u.rad)
        psi_p, psi_q, difference, psi_pq = (self._at(p, q, map_) for map_ in self._maps[1:])
        omega = 1 / (1 + rho**2 / 4)
        omega_p, omega_q = -p * omega / 2, -q * omega / 2  # derivatives of its logarithm
        gamma_1 = difference / 2 - omega_p * psi_p + omega_q * psi_q
        gamma_2 = psi_pq - omega_q * psi_p - omega_p * psi_q
        # great circles through the centre have the angle `angle` from the q axis towards p, in the plane as on the
        # sphere, where their angle from the local North is that of the continued arc
        here = self.center.position_angle(coords).rad, coords.position_angle(self.center).rad + np.pi
        turn = here[0] - here[1]  # of the local North from the q axis towards p
        return coords, np.conj((gamma_1 + 1j * gamma_2) * np.exp(2j * turn)) / omega**2
