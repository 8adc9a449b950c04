"""
Random footprints of surveys: noise of the pixels, and holes without data.

In half of the surveys galaxies are Poisson distributed: a pixel with k galaxies has the noise ``s sqrt(k_mean / k)``,
and one without galaxies has no data. Stars, edges and corners are masked in most surveys. Pieces of the mask of a real
survey can take their place.
"""

import math

import numpy as np

_LEAST = 0.4  # smallest fraction of a survey with data


def random_noise(holes, level, choices):
    """
    Draw the noise of the pixels of a survey, infinite in its holes (bool, ``(ny, nx)``), in half of the cases uniform.

    Else galaxies are Poisson distributed with a mean of 1 to 30 per pixel, whose noise is ``level``.
    """
    noise_std = np.full(holes.shape, float(level))
    if choices.integers(2):
        mean = math.exp(choices.uniform(0, math.log(30)))
        with np.errstate(divide="ignore"):
            noise_std *= np.sqrt(mean / choices.poisson(mean, holes.shape))
    noise_std[holes] = np.inf
    return noise_std


def random_holes(shape, choices):
    """Draw the holes of a survey, True without data; at least a fifth of the surveys have none."""
    while choices.integers(5):
        holes = _stars(shape, choices)
        if choices.integers(2):
            holes |= _edges(shape, choices)
        if choices.integers(3) == 0:
            holes |= _corner(shape, choices)
        if holes.mean() <= 1 - _LEAST:
            return holes
    return np.zeros(shape, dtype=bool)


def holes_of_survey(footprints, shape, choices):
    """
    Cut the holes of a survey, True without data, out of a random one of ``footprints``, True with data.

    The piece is turned and mirrored at random; where it is larger than the footprint, there are no data around it. Of
    up to 20 pieces the first with data in 40 % of the pixels is returned, else the one with most data.
    """
    best = np.ones(shape, dtype=bool)
    for _ in range(20):
        seen = np.rot90(footprints[choices.integers(len(footprints))], choices.integers(4))
        seen = seen[::-1] if choices.integers(2) else seen
        seen = np.pad(seen, [(max(side - own, 0),) * 2 for own, side in zip(seen.shape, shape, strict=True)])
        row, column = (choices.integers(own - side + 1) for own, side in zip(seen.shape, shape, strict=True))
        holes = ~seen[row : row + shape[0], column : column + shape[1]]
        best = min(best, holes, key=np.mean)
        if best.mean() <= 1 - _LEAST:
            break
    return best


def _stars(shape, choices):
    """Discs with radii of 1 to 10 pixels that cover 0 to 40 % of the survey."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    holes, aim = np.zeros(shape, dtype=bool), choices.uniform(0, 0.4)
    typical = math.exp(choices.uniform(0, math.log(6)))
    while holes.mean() < aim:
        radius = min(typical * math.exp(0.5 * choices.normal()), 10.0)
        row, column = choices.uniform(-radius, np.array(shape) + radius)
        holes |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return holes


def _edges(shape, choices):
    """Strips along some of the four edges."""
    holes = np.zeros(shape, dtype=bool)
    for view in (holes, holes[::-1], holes.T, holes.T[::-1]):
        if choices.integers(2):
            view[: choices.integers(1, max(len(view) // 4, 1) + 1)] = True
    return holes


def _corner(shape, choices):
    """Pixels on one side of a random line across the survey."""
    angle, (ny, nx) = choices.uniform(0, 2 * math.pi), shape
    y, x = np.mgrid[:ny, :nx]
    distance = (x - nx / 2) * math.cos(angle) + (y - ny / 2) * math.sin(angle)
    return distance > choices.uniform(0.15, 0.6) * min(shape)
