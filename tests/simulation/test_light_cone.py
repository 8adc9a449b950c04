"""Lens planes and light cones: plane waves, the integral of q, and Limber's sum."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.integrate import quad
from scipy.stats import kstest

from astro_massmap.simulation import Cosmology, LensPlanes, LightCone, NBody, lensing_weights
from astro_massmap.simulation.light_cone import slab_distances
from astro_massmap.simulation.mesh import Mesh

from helpers.cases import each_case

ARCMIN = math.pi / 10800
HUBBLE_LENGTH = 2997.92458
COSMOLOGY = Cosmology.default()
SLABS = slab_distances(COSMOLOGY, 128.0, 1.0)


def planes_of(overdensity, box_size=100.0, distance=(1000.0,)):
    overdensity, distance = torch.as_tensor(overdensity).half(), np.array(distance)
    return LensPlanes(overdensity, box_size, 0.3, distance, COSMOLOGY.scale_factor(distance), {"seed": 1})


def wave_planes(waves, cells=128, amplitude=1.0):
    """One slab whose only plane is a wave along its columns."""
    wave = amplitude * torch.sin(2 * math.pi * waves * torch.arange(cells) / cells)
    return planes_of(wave.expand(1, 1, cells, cells))


def rng(seed=0):
    return np.random.default_rng(seed)


REDSHIFTS = np.linspace(0, 1.5, 3001)
DISTANCES = COSMOLOGY.distance(REDSHIFTS)


def kernel(chi, z_source):
    """q of a source plane, in h/Mpc."""
    distance = np.interp(z_source, REDSHIFTS, DISTANCES)
    redshift = np.interp(chi, DISTANCES, REDSHIFTS)
    return 1.5 * 0.3 / HUBBLE_LENGTH**2 * chi * (1 + redshift) * np.clip(1 - chi / distance, 0, None)


# ---- weights


def test_slabs_extend_to_the_sources():
    assert np.allclose(SLABS, 128 * (np.arange(18) + 0.5))
    assert SLABS[-1] + 64 < COSMOLOGY.distance(1.0) < SLABS[-1] + 64 + 32
    assert len(slab_distances(COSMOLOGY, 128.0, 0.9)) == 17
    assert np.allclose(slab_distances(COSMOLOGY, 500.0, 0.01), [250])


@pytest.mark.parametrize("z_source", [0.5, 0.77, 1.0])
def test_weights_are_the_integral_of_the_kernel_over_each_slab(z_source):
    weights = lensing_weights(COSMOLOGY, SLABS, 128.0, redshift=z_source)
    expected = [quad(kernel, chi - 64, chi + 64, args=(z_source,), epsrel=1e-4)[0] for chi in SLABS]
    assert weights.shape == (18,)
    assert np.allclose(weights, expected, rtol=2e-3, atol=1e-3 * max(expected))
    assert abs(weights.sum() / sum(expected) - 1) < 1e-3


def test_weights_give_the_power_of_limber():
    # C = int (q / chi)^2 P dchi with the linear power at each distance: a sum over slabs against a fine integral.
    # They differ where the power changes within a slab: at low ell in the nearest slabs.
    weights = lensing_weights(COSMOLOGY, SLABS, 128.0, redshift=1.0)

    def power(ell, chi):
        return COSMOLOGY.linear_power(ell / chi) * COSMOLOGY.growth(COSMOLOGY.scale_factor(chi)) ** 2

    far = COSMOLOGY.distance(1.0)
    chi = (np.arange(4000) + 0.5) * far / 4000
    for ell in (300, 1000, 3000):
        of_slabs = (weights**2 / (SLABS**2 * 128) * power(ell, SLABS)).sum()
        integral = ((kernel(chi, 1.0) / chi) ** 2 * power(ell, chi)).mean() * far
        assert abs(of_slabs / integral - 1) < 0.02


def test_a_narrow_distribution_is_a_plane():
    z = np.linspace(0.67, 0.73, 31)
    narrow = lensing_weights(COSMOLOGY, SLABS, 128.0, n_z=(z, 7 * np.exp(-0.5 * ((z - 0.7) / 0.008) ** 2)))
    plane = lensing_weights(COSMOLOGY, SLABS, 128.0, redshift=0.7)
    assert np.allclose(narrow, plane, atol=4e-3 * plane.max())
    assert np.allclose(lensing_weights(COSMOLOGY, SLABS, 128.0, n_z=([0.7], [3.0])), plane)


def test_a_distribution_is_integrated_by_trapezoids():
    # linear between its points, at any spacing
    fine = np.linspace(0.4, 0.9, 501)
    expected = np.mean([kernel(SLABS[:, None] + np.linspace(-60, 60, 16), z).mean(axis=1) * 128 for z in fine], axis=0)
    for z in (fine, np.linspace(0.4, 0.9, 11), np.concatenate([np.linspace(0.4, 0.5, 50), np.linspace(0.55, 0.9, 8)])):
        weights = lensing_weights(COSMOLOGY, SLABS, 128.0, n_z=(z, np.ones(len(z))))
        assert np.allclose(weights, expected, atol=4e-3 * expected.max())


def test_sources_beyond_the_planes_are_an_error():
    lensing_weights(COSMOLOGY, SLABS, 128.0, redshift=1.0)
    with pytest.raises(ValueError, match=r"extend to 2739 Mpc/h, the lens planes to 2304 Mpc/h; .* larger z_max"):
        lensing_weights(COSMOLOGY, SLABS, 128.0, redshift=1.27)
    with pytest.raises(ValueError, match="z_max"):
        lensing_weights(COSMOLOGY, SLABS, 128.0, n_z=([0.5, 1.0, 1.5], [1, 1, 0.01]))
    # but not if n(z) is zero there
    lensing_weights(COSMOLOGY, SLABS, 128.0, n_z=([0.5, 1.0, 1.01, 1.5], [1, 1, 0, 0]))


@each_case(
    "sources",
    [
        {},
        {"redshift": 1.0, "n_z": ([0.5, 1.0], [1, 1])},
        {"redshift": 0.0},
        {"redshift": -0.5},
        {"redshift": math.nan},
        {"n_z": ([0.5, 1.0, 1.5], [1])},
        {"n_z": ([0.5, 1.0], [1])},
        {"n_z": ([0.5, 1.0], [1, -1])},
        {"n_z": ([0.5, 1.0], [0, 0])},
        {"n_z": ([0.5, 1.0], [1, math.nan])},
        {"n_z": ([1.0, 0.5], [1, 1])},
        {"n_z": ([0.5, 0.5], [1, 1])},
    ],
)
def test_bad_sources_are_named(sources):
    with pytest.raises(ValueError, match=r"^(redshift|n_z|redshift, n_z):"):
        lensing_weights(COSMOLOGY, SLABS, 128.0, **sources)


# ---- maps


def test_a_plane_wave_has_the_expected_ell():
    # 20 waves in 100 Mpc/h at 1000 Mpc/h: ell = 2 pi 20 / 100 * 1000 = 1257
    cone, pixel, n = LightCone([wave_planes(20, 512)], [0.02]), 2 * ARCMIN, 96
    maps = cone.draw(20, (n, n), pixel, rng()).double()
    assert abs(float(maps.square().mean()) / (0.02**2 / 2) - 1) < 0.03
    assert 0.0195 < float(maps.abs().max()) <= 0.02
    power = torch.fft.rfft2(maps * torch.outer(*[torch.hann_window(n, dtype=torch.float64)] * 2)).abs().square()
    step = 2 * math.pi / (n * pixel)
    ell = step * torch.hypot(*torch.meshgrid(torch.fft.fftfreq(n, 1 / n), torch.arange(n / 2 + 1), indexing="ij"))
    centroid = (power * ell).sum(dim=(1, 2)) / power.sum(dim=(1, 2))
    assert (centroid - 1256.6).abs().max() < 0.1 * step
    # and in all directions
    assert len(set(power.flatten(1).argmax(dim=1).tolist())) > 10


def test_a_map_is_the_sum_over_slabs_with_their_weights():
    overdensity = torch.tensor([1.0, -0.5, 2.0])[:, None, None, None].expand(3, 3, 8, 8)
    cone = LightCone([planes_of(overdensity, distance=(50, 150, 250))], [0.01, 0.02, 0.04])
    assert torch.allclose(cone.draw(2, (4, 5), ARCMIN, rng()), torch.full((2, 4, 5), 0.01 - 0.01 + 0.08))


def test_every_cube_and_axis_is_drawn():
    cubes = [planes_of(torch.arange(3.0)[None, :, None, None].expand(1, 3, 4, 4) + 3 * i) for i in range(2)]
    drawn = LightCone(cubes, [1.0]).draw(300, (1, 1), ARCMIN, rng()).flatten()
    # 50 of each are expected; fewer than 25 have a probability of 1e-4
    assert torch.bincount(drawn.long(), minlength=6).min() > 25


class Places(LightCone):
    """Records the positions of the pixels in a plane."""

    def _interpolate(self, plane, u, v):
        self.seen = getattr(self, "seen", [])
        self.seen.append(torch.stack([u, v]))
        return torch.zeros_like(u)


def test_maps_are_shifted_rotated_and_mirrored_at_random():
    cone = Places([planes_of(torch.zeros(1, 1, 50, 50))], [1.0])
    cone.draw(1000, (3, 5), ARCMIN, rng())
    seen = torch.stack(cone.seen)
    right, up = seen.diff(dim=3)[:, :, 0, 0], seen.diff(dim=2)[:, :, 0, 0]
    step = 1000 * ARCMIN * 50 / 100  # Mpc/h of a pixel in cells
    for vector in (right, up):
        assert torch.allclose(vector.norm(dim=1), torch.tensor(step), rtol=1e-3)
    assert (right * up).sum(dim=1).abs().max() < 1e-3 * step**2
    mirrored = right[:, 0] * up[:, 1] - right[:, 1] * up[:, 0] < 0
    assert abs(int(mirrored.sum()) - 500) < 4.5 * math.sqrt(250)
    angle = torch.atan2(up[:, 0], up[:, 1])
    for uniform in (angle[mirrored] / (2 * math.pi), angle[~mirrored] / (2 * math.pi), *(seen[:, :, 1, 2].T / 50)):
        assert kstest(uniform.numpy() % 1, "uniform").pvalue > 1e-4


def test_planes_are_periodic():
    # a field of 2.9 boxes with a slow wave: first and second differences are continuous at the border
    cells, pixel = 64, 10 * ARCMIN
    maps = LightCone([wave_planes(1, cells)], [1.0]).draw(10, (100, 100), pixel, rng())
    k = 2 * math.pi / 100 * 1000 * pixel
    for axis in (1, 2):
        assert maps.diff(dim=axis).abs().max() < 1.01 * k
        assert maps.diff(n=2, dim=axis).abs().max() < k**2 + 2 * (2 * math.pi / cells) ** 2
    assert maps.max() > 0.99


def test_values_between_cells_are_bilinear():
    plane = torch.from_numpy(rng(3).normal(size=(1, 1, 6, 6)))
    cone = LightCone([planes_of(plane)], [1.0])
    plane = plane.half().double()[0, 0].numpy()
    u, v = (torch.from_numpy(rng(i).uniform(-9, 15, (5, 7)).astype(np.float32)) for i in (1, 2))
    column, row = np.floor(u.numpy()).astype(int), np.floor(v.numpy()).astype(int)
    right, up = u.numpy() - column, v.numpy() - row
    expected = sum(
        plane[(row + i) % 6, (column + j) % 6] * (up if i else 1 - up) * (right if j else 1 - right)
        for i in (0, 1)
        for j in (0, 1)
    )
    assert np.allclose(cone._interpolate(cone.planes[0][0], u, v).numpy(), expected, atol=1e-4)


def test_maps_depend_on_the_generator_alone():
    planes = planes_of(torch.from_numpy(rng().normal(size=(2, 3, 16, 16))), distance=(500.0, 600.0))
    cone = LightCone([planes], [0.01, 0.02])
    maps = cone.draw(3, (12, 17), ARCMIN, rng(5))
    assert maps.shape == (3, 12, 17)
    assert maps.dtype == torch.float32
    assert torch.equal(cone.draw(3, (12, 17), ARCMIN, rng(5)), maps)
    one_by_one = rng(5)
    assert torch.equal(torch.cat([cone.draw(1, (12, 17), ARCMIN, one_by_one) for _ in range(3)]), maps)
    assert (maps[0] - maps[1]).abs().max() > 1e-3
    assert (cone.draw(3, (12, 17), ARCMIN, rng(6)) - maps).abs().max() > 1e-3


def test_cubes_of_different_slabs_are_an_error():
    cube = planes_of(torch.zeros(2, 3, 8, 8), distance=(50.0, 150.0))
    for other in (
        planes_of(torch.zeros(2, 3, 8, 8), 90.0, (45.0, 135.0)),
        planes_of(torch.zeros(2, 3, 16, 16), distance=(50.0, 150.0)),
        planes_of(torch.zeros(1, 3, 8, 8)),
    ):
        with pytest.raises(ValueError, match="cubes: need the same slabs"):
            LightCone([cube, other], [1.0, 1.0])
    with pytest.raises(ValueError, match="weights: need one for each of 2 slabs, got 3"):
        LightCone([cube], [1.0, 1.0, 1.0])


# ---- planes of a simulation


@pytest.fixture(scope="module")
def simulated():
    simulation = NBody(16, 256.0, mesh_factor=1, longest_step=0.1)
    steps = []
    planes = LensPlanes.simulate(simulation, 4, cells=24, z_max=0.4, on_step=steps.append)
    return simulation, planes, steps


def test_planes_are_projections_of_the_particles(simulated):
    simulation, planes, _ = simulated
    assert planes.overdensity.shape == (4, 3, 24, 24)
    assert planes.overdensity.dtype == torch.float16
    mesh = Mesh(24)
    for i, (a, x) in enumerate(simulation.run(4, planes.scale_factor[::-1])):
        assert np.isclose(a, planes.scale_factor[3 - i])
        cube = mesh.overdensity(x * 24)  # the sum over a line of sight is the projection
        for axis, plane in enumerate(planes.overdensity[3 - i]):
            mean = cube.mean(dim=axis)
            mean = mean.T if axis == 1 else mean  # seen along y, z is up
            assert torch.allclose(plane.float(), mean, atol=2e-3)


def test_the_nearest_slab_is_first(simulated):
    simulation, planes, steps = simulated
    assert np.allclose(planes.distance, [128, 384, 640, 896])
    assert np.allclose(simulation.cosmology.distance(1 / planes.scale_factor - 1), planes.distance, rtol=1e-4)
    assert len(steps) == 10  # the first interval, 0.66 long, in seven steps
    assert planes.meta == simulation.describe(4)
    assert (planes.box_size, planes.omega_m) == (256.0, 0.3)


# ---- files


def test_files_round_trip(simulated):
    planes = simulated[1]
    planes.save("box.safetensors")
    back = LensPlanes.load("box.safetensors")
    assert torch.equal(back.overdensity, planes.overdensity)
    assert back.overdensity.dtype == torch.float16
    assert np.array_equal(back.distance, planes.distance)
    assert np.array_equal(back.scale_factor, planes.scale_factor)
    assert (back.box_size, back.omega_m, back.meta) == (planes.box_size, planes.omega_m, planes.meta)
    with pytest.raises(OSError, match=r"'box.safetensors' exists; give overwrite=True"):
        planes.save("box.safetensors")
    planes.save(Path("box.safetensors"), overwrite=True)
    assert [path.name for path in Path().iterdir()] == ["box.safetensors"]


def damaged(file):
    planes_of(torch.zeros(1, 3, 64, 64)).save(file)
    content = Path(file).read_bytes()
    return content, json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["planes"]


def test_truncated_files_are_an_error():
    content, _ = damaged("box.safetensors")
    for length in (0, 5, 100, len(content) - 1):
        Path("box.safetensors").write_bytes(content[:length])
        with pytest.raises(OSError, match=r"^file: 'box.safetensors' is damaged"):
            LensPlanes.load("box.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "astro_massmap lens planes 0"}, "its format is 'astro_massmap lens planes 0'"),
        ({"distance": [1.0, 2.0]}, r"2 distances do not match planes of shape \(1, 3, 64, 64\)"),
        ({"box_size": None}, "damaged, or contains no lens planes"),
        ({"meta": ...}, "meta"),
    ],
)
def test_files_of_another_format_are_an_error(change, message):
    notes = json.loads(damaged("box.safetensors")[1]) | change
    notes = json.dumps({key: value for key, value in notes.items() if value is not ...})
    save_file({"overdensity": torch.zeros(1, 3, 64, 64)}, "other.safetensors", {"planes": notes})
    with pytest.raises(OSError, match=rf"^file: 'other.safetensors' .*{message}"):
        LensPlanes.load("other.safetensors")


def test_files_of_something_else_are_an_error():
    save_file({"weight": torch.zeros(3)}, "weights.safetensors")
    save_file({"weight": torch.zeros(3)}, "named.safetensors", {"planes": damaged("box.safetensors")[1]})
    save_file({"overdensity": torch.zeros(3)}, "text.safetensors", {"planes": "not json"})
    Path("text.txt").write_text("no planes")
    Path("folder").mkdir()
    for file in ("weights.safetensors", "named.safetensors", "text.safetensors", "text.txt", "folder"):
        with pytest.raises(OSError, match=rf"^file: '{file}' .*contains no lens planes"):
            LensPlanes.load(file)
    with pytest.raises(OSError, match=r"^file: 'missing.safetensors' does not exist"):
        LensPlanes.load("missing.safetensors")
