import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import (
    AnnealedHMC,
    GaussianPrior,
    PosteriorDiffusion,
    PosteriorMean,
    PowerSpectrum,
    ScorePrior,
    Wiener,
)
from astro_massmap.methods.base import in_batches
from astro_massmap.priors import PosteriorNetwork

from helpers.cases import each_case


def test_batches_cover_everything_once():
    done, pieces = [], []
    in_batches(lambda piece: pieces.append(list(piece)), range(3, 12), 4, on_done=done.append)
    assert pieces == [[3, 4, 5, 6], [7, 8, 9, 10], [11]]
    assert done == [4, 4, 1]


def test_out_of_memory_halves_the_batch_and_continues():
    done = []

    def hungry(indices):
        if len(indices) > 2:
            raise torch.OutOfMemoryError("too much")
        done.extend(indices)

    with pytest.warns(AstropyUserWarning, match="out of memory"):
        in_batches(hungry, range(7), 6)
    assert done == list(range(7))


def test_one_map_that_exceeds_the_memory_is_an_error():
    def greedy(indices):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError), pytest.warns(AstropyUserWarning):
        in_batches(greedy, range(4), 2)


@each_case(
    ("make", "message"),
    [
        (lambda: Wiener(PowerSpectrum.default), "spectrum: needs a PowerSpectrum, such as"),
        (lambda: Wiener(PowerSpectrum), "spectrum: needs a PowerSpectrum, such as"),
        (lambda: GaussianPrior(3), "spectrum: needs a PowerSpectrum, such as"),
        (lambda: AnnealedHMC(ScorePrior), "prior: needs an object"),
        (lambda: PosteriorMean(PosteriorNetwork), "network: needs a PosteriorNetwork"),
        (lambda: PosteriorDiffusion(PosteriorNetwork), "network: needs a PosteriorNetwork"),
    ],
)
def test_a_class_instead_of_an_object_is_an_error(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_list_instead_of_a_schedule_is_an_error():
    with pytest.raises(ValueError, match="schedule: needs a Schedule or one of"):
        AnnealedHMC(schedule=["annealed"])
