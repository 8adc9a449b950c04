"""Initial displacements and their growth against plane waves, second-order theory and the linear growth factor."""

import json
import math

import numpy as np
import pytest
import torch

from astro_massmap.simulation import Cosmology, NBody

from helpers.cases import each_case

BOX, N = 100.0, 16


def lattice(n, box):
    q = torch.arange(n) * (box / n)
    return torch.stack([axis.flatten() for axis in torch.meshgrid(q, q, q, indexing="ij")])


def moved(positions, n, box):
    """Displacements of the particles from the lattice in Mpc/h."""
    return ((positions * box - lattice(n, box) + box / 2) % box) - box / 2


def wave_vectors(n, box):
    k = 2 * math.pi / box * torch.fft.fftfreq(n, 1 / n)
    return [k[:, None, None], k[None, :, None], k[None, None, : n // 2 + 1].abs()]


def divergence(displacement, n, box):
    """Modes of ``-div psi``, which is the linear overdensity, ``(n, n, n // 2 + 1)``."""
    modes = torch.fft.rfftn(displacement.double().view(3, n, n, n), dim=(1, 2, 3))
    return -1j * sum(k * mode for k, mode in zip(wave_vectors(n, box), modes, strict=True))


def lengths(n, box):
    return sum(k**2 for k in wave_vectors(n, box)).sqrt()


def growth_of_modes(simulation, seed, outputs, longest):
    """Growth of modes below a wave number divided by linear growth, at each output."""
    n, box = simulation.particles, simulation.box_size
    start = divergence(simulation.displacements(seed)[0], n, box)
    some = (lengths(n, box) < longest) & (start != 0)
    for a, positions in simulation.run(seed, outputs):
        now = divergence(moved(positions, n, box), n, box)
        correlated = (now * start.conj()).real[some].sum() / start[some].abs().square().sum()
        yield float(correlated) / float(simulation.cosmology.growth(a))


@pytest.fixture
def start_from(monkeypatch):
    """A function that sets the initial overdensity, by a cosmology in which it is the white noise."""

    def start_from(delta):
        monkeypatch.setattr(torch, "randn", lambda *args, **options: delta.view(N, N, N).clone())
        return Cosmology(0.3, [1e-4, 1e2], np.full(2, (BOX / N) ** 3))

    return start_from


def wave(waves, amplitude):
    """A plane wave of the overdensity, and its displacement."""
    k = 2 * math.pi / BOX * torch.tensor(waves, dtype=torch.float32)[:, None]
    phase = (k * lattice(N, BOX)).sum(dim=0) + 0.4
    return amplitude * torch.cos(phase), -amplitude * k / k.square().sum() * torch.sin(phase)


# ---- the start


@pytest.mark.parametrize("waves", [(1, 0, 0), (0, 3, 0), (2, 1, -1)])
def test_a_plane_wave_has_no_second_order(start_from, waves):
    delta, psi = wave(waves, 0.5)
    first, second = NBody(N, BOX, start_from(delta)).displacements(1)
    assert torch.allclose(first, psi, atol=1e-5 * float(psi.abs().max()))
    assert second.abs().max() < 1e-5 * psi.abs().max()


def test_crossed_waves_have_the_second_order_of_theory(start_from):
    # with phi_xx = a and phi_yy = b the source is a b, and psi2 = -3/7 grad of its inverse Laplacian:
    # two waves (1, +-1, 0) with half the product of the amplitudes
    (a, psi_a), (b, psi_b) = wave((1, 0, 0), 0.6), wave((0, 1, 0), 0.5)
    first, second = NBody(N, BOX, start_from(a + b)).displacements(1)
    assert torch.allclose(first, psi_a + psi_b, atol=1e-4)
    q = lattice(N, BOX) * 2 * math.pi / BOX
    k = 2 * math.pi / BOX
    expected = torch.zeros_like(first)
    for sign in (1, -1):
        slope = 3 / 7 * 0.6 * 0.5 / 2 / (2 * k) * -torch.sin(q[0] + sign * q[1] + (0.4 + sign * 0.4))
        expected[0] += slope
        expected[1] += sign * slope
    assert torch.allclose(second, expected, atol=1e-4 * float(expected.abs().max()))


def test_second_order_of_a_random_field_is_the_sum_of_minors(start_from):
    # the Laplacian of phi2 is the sum of the principal minors of the tidal tensor -d psi1; wave numbers up to 3, so
    # that the grid resolves their products
    k = wave_vectors(N, BOX)
    white = torch.from_numpy(np.random.default_rng(0).normal(size=(N, N, N)))
    long = math.prod((axis.abs() < 3.5 * 2 * math.pi / BOX).double() for axis in k)
    delta = torch.fft.irfftn(torch.fft.rfftn(white) * long, s=(N, N, N)).float()
    first, second = NBody(N, BOX, start_from(delta)).displacements(1)
    modes = torch.fft.rfftn(first.double().view(3, N, N, N), dim=(1, 2, 3))
    tidal = [[torch.fft.irfftn(-1j * k[j] * modes[i], s=(N, N, N)) for j in range(3)] for i in range(3)]
    source = sum(tidal[i][i] * tidal[j][j] - tidal[i][j] * tidal[j][i] for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = 3 / 7 * torch.fft.rfftn(source - source.mean())
    assert (divergence(second, N, BOX) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_initial_power_is_the_linear_one():
    n, box = 32, 256.0
    simulation = NBody(n, box)
    power = sum(divergence(simulation.displacements(seed)[0], n, box).abs().square() for seed in range(4)) / 4
    power, k = power * box**3 / n**6, lengths(n, box)
    expected = torch.as_tensor(simulation.cosmology.linear_power(k.clamp(min=1e-5)))
    for low, high in ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.38)):
        band = (k > low) & (k < high)
        ratio = float((power / expected)[band].mean())
        # probability of a false alarm at 4.5 sigma: 1e-5
        assert abs(ratio - 1) < 4.5 / math.sqrt(4 * int(band.sum()))


def test_displacements_are_gradients_without_a_mean():
    n, box = 16, 64.0
    k = wave_vectors(n, box)
    for displacement in NBody(n, box).displacements(2):
        modes = torch.fft.rfftn(displacement.double().view(3, n, n, n), dim=(1, 2, 3))
        curl = k[0] * modes[1] - k[1] * modes[0]
        inside = (k[0].abs() < 0.99 * math.pi * n / box) & (k[1].abs() < 0.99 * math.pi * n / box)
        assert (curl * inside).abs().max() < 1e-5 * (k[0] * modes[1]).abs().max()
        assert displacement.mean(dim=1).abs().max() < 1e-5


def test_initial_positions_and_momenta_are_of_second_order():
    # positions are those of perturbation theory, momenta a^3 E times their derivative: for the second order to 2 %,
    # as its growth and rate are fits
    simulation = NBody(N, BOX)
    c, cells = simulation.cosmology, simulation.cells
    first, second = (displacement * cells / BOX for displacement in simulation.displacements(3))
    a, h = 0.3, 0.01

    def displacement(a):
        x = simulation._start(3, a)[0] - lattice(N, cells)
        return (x + cells / 2) % cells - cells / 2

    growth, omega = float(c.growth(a)), 0.3 / (a**3 * float(c.expansion(a)) ** 2)
    assert torch.allclose(displacement(a), growth * first + growth**2 * omega ** (-1 / 143) * second, atol=1e-4)
    momentum = simulation._start(3, a)[1]
    slope = a**3 * float(c.expansion(a)) * (displacement(a + h) - displacement(a - h)) / (2 * h)
    assert (momentum - slope).norm() < 3e-3 * momentum.norm()
    of_first = float(c.growth_momentum(a)) * first
    assert (momentum - slope).norm() < 0.02 * (momentum - of_first).norm()


# ---- growth


@pytest.mark.parametrize("mesh_factor", [1, 2])
def test_a_plane_wave_grows_until_it_collapses(start_from, mesh_factor):
    # the Zel'dovich solution is exact in one dimension up to shell crossing, here at D = 1.1
    delta, psi = wave((0, 1, 0), 0.9)
    simulation = NBody(N, BOX, start_from(delta), mesh_factor=mesh_factor)
    for a, positions in simulation.run(1, [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]):
        expected = psi * float(simulation.cosmology.growth(a))
        error = moved(positions, N, BOX) - expected
        assert abs(float((error * expected).sum() / expected.square().sum())) < 0.01
        assert error.norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("mesh_factor", [1, 2])
def test_large_scales_grow_linearly(mesh_factor):
    # 81 modes of each of two boxes of 256 Mpc/h
    simulation = NBody(32, 256.0, mesh_factor=mesh_factor)
    growth = np.array([list(growth_of_modes(simulation, seed, [0.3, 0.5], 0.06)) for seed in (3, 4)])
    assert np.abs(growth.mean(axis=0) - 1).max() < 0.01


@pytest.mark.slow
def test_in_small_boxes_the_force_mesh_may_be_finer():
    # particle separation of 2/3 Mpc/h, as in production: particles have left their initial cells
    growth = np.array([list(growth_of_modes(NBody(48, 32.0), seed, [0.15, 0.2], 0.42)) for seed in (3, 4)])
    assert np.abs(growth.mean(axis=0) - 1).max() < 0.01


def test_few_steps_are_enough_for_large_scales():
    simulations = [NBody(32, 256.0, mesh_factor=1, longest_step=step) for step in (0.1, 0.0125)]
    (few,), (many,) = (growth_of_modes(simulation, 3, [0.5], 0.06) for simulation in simulations)
    assert abs(few / many - 1) < 3e-3


def test_clustering_grows_and_the_centre_of_mass_stays():
    n, box = 32, 64.0
    variances = []
    for _, positions in NBody(n, box).run(1, [0.3, 0.6, 1.0]):
        counts = torch.histogramdd((positions.T * box).contiguous(), bins=[8] * 3, range=[0.0, box] * 3).hist
        variances.append(float(counts.var()) / 64**2)
        assert moved(positions, n, box).mean(dim=1).abs().max() < 1e-3
    assert variances[0] < 0.5 * variances[1] < 0.5 * variances[2]
    # linear theory in cubes of 8 Mpc/h gives 0.8 today: less without longer modes, more by nonlinear growth
    assert 0.5 < variances[2] < 1.6


# ---- how it is run


def test_a_run_depends_on_the_seed_alone():
    def positions(seed):
        return torch.stack([x.clone() for _, x in NBody(8, 32.0).run(seed, [0.5, 1.0])])

    torch.manual_seed(99)
    once = positions(1)
    torch.manual_seed(98)
    assert torch.equal(positions(1), once)
    assert (positions(2) - once).abs().max() > 0.01


def test_positions_are_in_the_box_and_every_step_is_reported():
    steps = []
    simulation = NBody(16, 64.0, longest_step=0.06)
    found = list(simulation.run(3, [0.4, 0.45, 0.51], on_step=steps.append))
    assert [a for a, _ in found] == [0.4, 0.45, 0.51]
    for _, positions in found:
        assert positions.shape == (3, 16**3)
        assert positions.dtype == torch.float32
        assert 0 <= positions.min() < 0.01
        assert 0.99 < positions.max() < 1
    assert np.allclose(steps, [0.16, 0.22, 0.28, 0.34, 0.4, 0.45, 0.51])


def test_memory_is_that_of_the_tensors():
    # at least the density, its modes and three forces on the mesh; positions and momenta
    simulation = NBody(192, 128.0)
    assert simulation.cells == 384
    least = 4 * (5 * 384**3 + 6 * 192**3)
    assert least < simulation.memory < 1.5 * least
    assert f"{simulation.memory / 2**30:.1f} GiB" == "1.5 GiB"


def test_the_description_contains_the_settings():
    described = NBody(16, 64.0, mesh_factor=3, a_start=0.05, longest_step=0.05).describe(11)
    assert json.loads(json.dumps(described)) == {
        "seed": 11,
        "particles": 16,
        "mesh_factor": 3,
        "a_start": 0.05,
        "longest_step": 0.05,
        "forces": "cic, deconvolved, fading beyond the lattice",
        "cosmology": Cosmology.default().name,
    }


@each_case("outputs", [[], [0.1], [0.05, 0.5], [0.5, 0.5], [0.6, 0.5], [0.5, 1.01], [float("nan")]])
def test_bad_outputs(outputs):
    with pytest.raises(ValueError, match=r"outputs: need scale factors that increase from above 0\.1 to at most 1"):
        next(NBody(4, 16.0).run(1, outputs))


@each_case(
    ("change", "message"),
    [
        ({"particles": 15}, "particles: needs an even number on a side, got 15"),
        ({"particles": 0}, "particles"),
        ({"particles": 16.0}, "particles"),
        ({"box_size": 0.0}, "box_size: needs a positive length in Mpc/h"),
        ({"box_size": math.inf}, "box_size"),
        ({"box_size": math.nan}, "box_size"),
        ({"mesh_factor": 0}, "mesh_factor: needs a positive integer"),
        ({"mesh_factor": 1.5}, "mesh_factor"),
        ({"a_start": 0.0}, "a_start: needs to be between 0 and 1"),
        ({"a_start": 1.0}, "a_start"),
        ({"longest_step": 0.0}, "longest_step: needs to be between 0 and 1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        NBody(**{"particles": 16, "box_size": 64.0} | change)
