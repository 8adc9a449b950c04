"""Mass and gravity on the mesh against explicit weights, plane waves and Newton's third law."""

import math

import numpy as np
import pytest
import torch

from astro_massmap.simulation.mesh import Mesh


def random_positions(n, cells, axes=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, cells, (axes, n)).astype(np.float32))


def lattice(n, cells):
    """``n**3`` positions on a lattice."""
    q = torch.arange(n, dtype=torch.float32) * (cells / n)
    return torch.stack([axis.flatten() for axis in torch.meshgrid(q, q, q, indexing="ij")])


def pull_of(mesh, x):
    return torch.cat([pull for _, pull in mesh.pull(x)], dim=1)


# ---- painting


def test_a_particle_is_divided_among_the_cells_around_it():
    counts = Mesh(4).paint(torch.tensor([[1.25], [3.5]]))
    expected = torch.zeros(4, 4)
    expected[1, 3] = expected[1, 0] = 0.75 / 2  # the last cell's neighbour is the first
    expected[2, 3] = expected[2, 0] = 0.25 / 2
    assert torch.equal(counts, expected)


def test_a_particle_at_the_centre_of_a_cell():
    counts = Mesh(6).paint(torch.tensor([[2.0], [0.0], [5.0]]))
    assert counts[2, 0, 5] == 1
    assert counts.sum() == 1


def test_the_weights_are_triangular():
    # every cell, from all periodic images, by the definition of cloud-in-cell
    x = random_positions(50, 6)
    cells = torch.arange(6.0)
    distance = (x[:, :, None] - cells + 3) % 6 - 3
    tents = (1 - distance.abs()).clamp(min=0)
    expected = torch.einsum("ni,nj,nk->ijk", *tents)
    assert torch.allclose(Mesh(6).paint(x), expected, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_mass_is_conserved(axes):
    mesh = Mesh(8)
    x = random_positions(1000, 8, axes)
    assert mesh.paint(x).shape == (8,) * axes
    assert abs(float(mesh.paint(x).sum()) - 1000) < 0.01
    assert abs(float(mesh.overdensity(x).mean())) < 1e-6
    assert torch.allclose(mesh.overdensity(x), mesh.paint(x) / (1000 / 8**axes) - 1, atol=1e-5)


def test_the_cube_is_periodic():
    mesh = Mesh(8)
    x = torch.round(random_positions(300, 8) * 64) / 64  # exact in single precision, here and a cube away
    shift = torch.tensor([[3.0], [8.0], [-5.0]])
    assert torch.equal(mesh.paint(x + 8), mesh.paint(x))
    assert torch.equal(mesh.paint(x - 16), mesh.paint(x))
    assert torch.allclose(mesh.paint(x + shift), mesh.paint(x).roll((3, 8, -5), (0, 1, 2)), atol=1e-6)


def test_pieces_give_the_same_result():
    whole, pieces = Mesh(8), Mesh(8)
    pieces.chunk = 70
    x = random_positions(300, 8)
    assert torch.allclose(whole.paint(x), pieces.paint(x), atol=1e-5)
    assert [piece.start for piece, _ in pieces.pull(x)] == [0, 70, 140, 210, 280]
    assert torch.allclose(pull_of(whole, x), pull_of(pieces, x), atol=1e-4)


# ---- gravity


@pytest.mark.parametrize("waves", [(1, 0, 0), (0, 2, 0), (0, 0, 3), (1, 2, 1), (2, -1, 0)])
def test_the_pull_of_a_wave_is_its_displacement(waves):
    # to first order delta = -div psi, so -grad phi = psi: to 0.4 % for waves down to 5 cells; the rest is the
    # discreteness of the clouds
    mesh, q = Mesh(16), lattice(64, 16)
    k = torch.tensor(waves, dtype=torch.float32)[:, None] * 2 * math.pi / 16
    psi = 0.1 * k / k.norm() * torch.sin((k * q).sum(dim=0) + 0.3)
    pull = pull_of(mesh, (q + psi) % 16)
    assert abs(float((pull * psi).sum() / psi.square().sum()) - 1) < 4e-3
    assert (pull - psi).norm() < 0.12 * psi.norm()


def test_a_lattice_does_not_pull():
    assert pull_of(Mesh(16), lattice(8, 16) + 0.3).abs().max() < 1e-3
    assert pull_of(Mesh(16), lattice(16, 16) + 0.3).abs().max() < 1e-3


def test_a_particle_does_not_pull_itself():
    # its overdensity is 4096, and its force at a distance of two cells is 4096 / (4 pi 2^2) = 81
    for seed in range(5):
        assert pull_of(Mesh(16), random_positions(1, 16, seed=seed)).abs().max() < 5e-4


def test_two_particles_attract_each_other_equally():
    mesh, rng = Mesh(16), np.random.default_rng(1)
    for _ in range(10):
        apart = rng.normal(size=3)
        apart *= 2.5 / np.linalg.norm(apart)
        first = rng.uniform(0, 16, 3)
        x = torch.from_numpy(np.stack([first, first + apart], axis=1).astype(np.float32)) % 16
        pull = pull_of(mesh, x).numpy()
        assert np.abs(pull.sum(axis=1)).max() < 5e-4
        assert pull[:, 0] @ apart > 0


def test_momentum_is_conserved():
    pull = pull_of(Mesh(8), random_positions(500, 8))
    assert pull.square().mean() > 0.01
    assert torch.allclose(pull.mean(dim=1), torch.zeros(3), atol=1e-5)
