import pytest
import torch

from nowcast.precipitation.forecasters.comoving.noise import LEVELS, Noise

HEIGHT, WIDTH = 128, 192


def drawn(members: int, seed: int = 0) -> Noise:
    source = torch.Generator().manual_seed(seed)
    return Noise(
        lambda height, width: torch.randn(1, members, height, width, generator=source),
        HEIGHT,
        WIDTH,
    )


def amplitudes(**of: float) -> torch.Tensor:
    found = torch.zeros(1, LEVELS, HEIGHT // 4, WIDTH // 4)
    for level, value in of.items():
        found[:, int(level[1:])] = value
    return found


@pytest.mark.parametrize("level", range(LEVELS - 1))
def test_each_level_has_the_amplitude_that_is_asked_for(level: int):
    field = drawn(200).next(amplitudes(**{f"l{level}": 0.3}), torch.zeros(1, LEVELS))
    inner = field[..., 2**level : -(2**level), 2**level : -(2**level)]
    assert inner.std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("level", [0, 2, 4])
def test_a_level_is_alike_within_its_distance_and_not_beyond(level: int):
    field = drawn(50).next(amplitudes(**{f"l{level}": 1.0}), torch.zeros(1, LEVELS))
    apart = 2**level

    def correlation(distance: int) -> float:
        one, other = field[..., distance:], field[..., :-distance]
        return float((one * other).mean() / field.square().mean())

    if level:
        assert correlation(apart // 2) > 0.5
    assert abs(correlation(3 * apart)) < 0.05


def test_memory_is_the_correlation_with_the_lead_time_before():
    noise, memory = drawn(50), torch.full((1, LEVELS), 0.7)
    of = amplitudes(l1=1.0)
    first = noise.next(of, memory)
    second, third = noise.next(of, memory), noise.next(of, memory)
    power = first.square().mean()
    assert (first * second).mean() / power == pytest.approx(0.7, abs=0.02)
    assert (first * third).mean() / power == pytest.approx(0.49, abs=0.02)
    assert second.std() == pytest.approx(float(first.std()), rel=0.05)


def test_there_is_noise_where_it_is_said_to_be():
    of = amplitudes(l0=0.1, l2=0.1, l3=0.1)
    of[..., WIDTH // 8 :] = 0
    field = drawn(3).next(of, torch.zeros(1, LEVELS))
    assert field[..., : WIDTH // 4].std() > 0.1
    assert field[..., WIDTH // 2 + 16 :].abs().max() == 0
