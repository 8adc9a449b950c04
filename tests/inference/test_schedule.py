import math

import pytest

from astro_massmap import Schedule

from helpers.cases import each_case


def test_named_schedules():
    assert Schedule.fast().levels == (1.0,)
    annealed, tempered = Schedule.annealed(), Schedule.tempered()
    assert annealed.splitting and annealed.levels[0] > 1 and annealed.levels[-1] == 1
    assert not tempered.splitting and tempered.levels[-1] == 0
    assert len(tempered.trajectories) == len(tempered.levels)


def test_one_number_of_trajectories_holds_for_all_levels():
    assert Schedule((3, 2, 1), 4).trajectories == (4, 4, 4)


def test_reverse_levels_decrease_in_equal_ratios():
    levels = Schedule(reverse_steps=5, sigma_end=0.5).reverse_levels(0.16, signal=0.02)
    assert math.isclose(levels[0], 0.16) and math.isclose(levels[-1], 0.01)
    assert math.isclose(levels[1] / levels[0], levels[4] / levels[3])
    assert math.isclose(Schedule().reverse_levels(0.01, signal=0.02)[-1], 0.005)
    assert Schedule(reverse_steps=1).reverse_levels(0.1, signal=0.02) == [0.1]


@each_case(
    ("options", "message"),
    [
        ({"levels": (1, 2)}, "decrease"),
        ({"levels": (2, 2, 1)}, "decrease"),
        ({"levels": (float("nan"), 1)}, "decrease"),
        ({"levels": (2, 1.5)}, "last needs to be 1"),
        ({"levels": (0.1, -0.1), "splitting": False}, "at least 0"),
        ({"trajectories": (1, 2)}, "trajectories"),
        ({"trajectories": -1}, "trajectories"),
        ({"reverse_steps": 0}, "reverse_steps"),
        ({"sigma_end": 0}, "sigma_end"),
        ({"share": 1.0}, "share"),
    ],
)
def test_invalid_schedules(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


@each_case("options", [{"trajectories": 2.7}, {"trajectories": (1, 2.5), "levels": (2, 1)}, {"reverse_steps": 2.5}])
def test_numbers_of_steps_are_integers(options):
    # 2.7 steps were 2
    with pytest.raises(TypeError, match=f"{next(iter(options))}: needs an integer, got 2"):
        Schedule(**options)
