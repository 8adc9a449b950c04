"""Draw logo.png and favicon.png from the true convergence of the mock survey: ``python docs/make_logo.py``."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.ndimage import gaussian_filter

from astro_massmap import datasets

CENTER, STEP = (40, 88), 8  # highest peak and distance of the sticks, in pixels


def shear_of(kappa):
    """Return the complex shear of a convergence map."""
    ky, kx = np.meshgrid(*map(np.fft.fftfreq, kappa.shape), indexing="ij")
    k = kx + 1j * ky
    k[0, 0] = 1
    return np.fft.ifft2(k / k.conj() * np.fft.fft2(kappa))


def draw(name, size, radius, sticks):
    """Write an image of ``size`` x ``size`` pixels: the convergence in a disc, and the shear as white sticks."""
    kappa = gaussian_filter(datasets.demo_truth().data, 1.5)
    figure = Figure(figsize=(1, 1), dpi=size)
    ax = figure.add_axes((0, 0, 1, 1))
    disc = ax.add_patch(Circle(CENTER, radius, facecolor="none", edgecolor="#a05fb4", lw=2.5))
    image = ax.imshow(kappa, origin="lower", cmap="inferno", vmin=-0.035, vmax=0.1, interpolation="bicubic")
    image.set_clip_path(disc)
    if sticks:
        offsets = STEP * np.stack(np.meshgrid(*2 * [np.arange(-2, 3)]))
        distance = np.hypot(*offsets)
        x, y = offsets[:, (distance > 0) & (distance < radius - 4)] + np.array(CENTER)[:, None]
        direction = np.exp(0.5j * np.angle(shear_of(kappa)[y, x]))
        head = {"headwidth": 0, "headlength": 0, "headaxislength": 0}
        ax.quiver(x, y, direction.real, direction.imag, pivot="mid", color="w", scale=9, width=0.028, **head)
    ax.set(xlim=CENTER[0] + 1.06 * radius * np.array([-1, 1]), ylim=CENTER[1] + 1.06 * radius * np.array([-1, 1]))
    ax.axis("off")
    figure.savefig(Path(__file__).parent / "_static" / name, dpi=size, transparent=True)


if __name__ == "__main__":
    draw("logo.png", 192, radius=24, sticks=True)
    draw("favicon.png", 64, radius=14, sticks=False)
