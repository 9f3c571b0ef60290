"""The path, the solver and the network do what their equations say."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from stages.params import load
from stages.shared.schema import EvaluateFlow
from stages.tasks.generative.check import _first_loss
from stages.tasks.generative.inputs import as_pixels, as_signed, drawn_point, on_path
from stages.tasks.generative.model import Flow, between, drawn, guided, solved, waves

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: for networks this small a second one only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def params(**changes: object) -> EvaluateFlow:
    defaults = load(ROOT / "params.yaml").generative.evaluate.model_dump()
    return EvaluateFlow.model_validate({**defaults, "solver_steps": 2, **changes})


def network(channels: tuple[int, ...] = (8, 16), inputs: int = 1, classes: int = 3) -> Flow:
    torch.manual_seed(0)
    return Flow(list(channels), inputs, classes).eval()


def a_batch(count: int = 6, shape: tuple[int, int, int] = SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    images = torch.randn((count, *shape), generator=random)
    return images, torch.rand(count, generator=random), torch.arange(count) % 3


def test_every_pixel_comes_back_from_between_minus_one_and_one() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    signed = as_signed(pixels)
    assert signed.dtype == torch.float32
    assert [signed.min().item(), signed.max().item()] == [-1, 1]
    np.testing.assert_array_equal(as_pixels(signed), pixels)
    assert as_pixels(signed).dtype == np.uint8


def test_what_lies_outside_is_cut_off_and_what_lies_between_is_rounded() -> None:
    assert as_pixels(torch.tensor([-9.0, -1.01, 1.01, 9.0])).tolist() == [0, 0, 255, 255]
    near = torch.tensor([100.4, 100.6]) / 127.5 - 1
    assert as_pixels(near).tolist() == [100, 101]


def test_the_path_runs_from_the_noise_to_the_image() -> None:
    noise, images = torch.randn((2, 4, *SHAPE), generator=torch.Generator().manual_seed(0))
    assert torch.equal(on_path(noise, images, torch.zeros(4)).images, noise)
    assert torch.equal(on_path(noise, images, torch.ones(4)).images, images)
    half = on_path(noise, images, torch.full((4,), 0.5)).images
    torch.testing.assert_close(half, (noise + images) / 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_velocity_is_the_paths_derivative(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    noise, images = torch.randn((2, 5, *SHAPE), generator=random, dtype=torch.float64)
    times, step = torch.rand(5, generator=random, dtype=torch.float64), 1e-4
    here, there = on_path(noise, images, times), on_path(noise, images, times + step)
    torch.testing.assert_close((there.images - here.images) / step, here.velocity)
    assert torch.equal(here.times, times)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64), st.integers(0, 1000))
def test_each_equal_part_of_the_time_is_drawn_from_once(count: int, seed: int) -> None:
    point = drawn_point(torch.zeros(count, 1, 4, 4), torch.Generator().manual_seed(seed))
    within = point.times.sort().values * count - torch.arange(count)
    assert within.min() >= -1e-4
    assert within.max() <= 1 + 1e-4


def test_times_are_in_no_order_and_uniform_within_their_part() -> None:
    random = torch.Generator().manual_seed(0)
    times = torch.stack([drawn_point(torch.zeros(16, 1, 4, 4), random).times for _ in range(400)])
    assert times.mean(dim=0).sub(0.5).abs().max() < 0.08  # whichever image of the batch
    within = times * 16 % 1
    assert within.mean() == pytest.approx(0.5, abs=0.02)
    assert within.var() == pytest.approx(1 / 12, abs=0.01)


def test_a_drawn_point_lies_on_a_path_from_normal_noise_to_its_own_image() -> None:
    images = torch.linspace(-1, 1, 64).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    point = drawn_point(images, torch.Generator().manual_seed(0))
    share = point.times.view(-1, 1, 1, 1)
    torch.testing.assert_close(point.images + (1 - share) * point.velocity, images)
    noise = point.images - share * point.velocity
    assert noise.mean() == pytest.approx(0, abs=0.06)
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_the_generator_alone_decides_the_point() -> None:
    images = torch.zeros(8, *SHAPE)
    one, again, other = (
        drawn_point(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.images, other.images)
    assert not torch.equal(one.times, other.times)


def times_as(state: Tensor, times: Tensor) -> Tensor:
    return times.view(-1, *[1] * (state.ndim - 1)).to(state.dtype)


Equation = tuple[Callable[[Tensor, Tensor], Tensor], float]
# dx/dt, and where x gets to from 1.
EQUATIONS: dict[str, Equation] = {
    "x": (lambda x, _: x, math.e),
    "-2 t x squared": (lambda x, t: -2 * times_as(x, t) * x**2, 1 / 2),
    "x cos t": (lambda x, t: x * torch.cos(times_as(x, t)), math.exp(math.sin(1))),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_solver_comes_to_the_known_end_with_an_error_of_second_order(name: str) -> None:
    velocity, end = EQUATIONS[name]
    start = torch.ones(3, 1, 1, 1, dtype=torch.float64)
    errors = [(solved(velocity, start, steps) - end).abs().max().item() for steps in (32, 64, 128)]
    assert errors[2] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.3)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 9))
def test_a_velocity_that_grows_evenly_in_time_is_solved_without_error(
    slope: float, first: float, steps: int
) -> None:
    start = torch.tensor([[0.5], [-2.0]], dtype=torch.float64)
    found = solved(lambda x, t: slope * times_as(x, t) + first + 0 * x, start, steps)
    torch.testing.assert_close(found, start + slope / 2 + first, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 6, 20])
def test_towards_a_single_image_the_exact_flow_lands_on_it(steps: int) -> None:
    image = as_signed(np.random.default_rng(0).integers(0, 256, (1, *SHAPE)).astype(np.uint8))
    start = torch.randn((5, *SHAPE), generator=torch.Generator().manual_seed(0))

    def velocity(state: Tensor, times: Tensor) -> Tensor:
        left = 1 - times_as(state, times)  # at the end 0/0, along each path its constant velocity
        return torch.where(left > 1e-6, (image - state) / left, image - start)

    found = solved(velocity, start, steps)
    torch.testing.assert_close(found, image.expand_as(found), rtol=0, atol=1e-4)
    assert (as_pixels(found) == as_pixels(image)).all()


def test_towards_a_normal_distribution_the_exact_flow_lands_on_it() -> None:
    mean, spread = 0.4, 0.5
    start = torch.randn((200, 1, 4, 4), generator=torch.Generator().manual_seed(0))

    def velocity(state: Tensor, times: Tensor) -> Tensor:
        t = times_as(state, times)  # Lipman et al. (2023), theorem 3: the mean moves, the width too
        return mean + (t * spread**2 - (1 - t)) / ((1 - t) ** 2 + (t * spread) ** 2) * (
            state - t * mean
        )

    torch.testing.assert_close(
        solved(velocity, start, 50), mean + spread * start, rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 1.25, 2.0])
def test_guidance_goes_from_no_label_past_the_label(guidance: float) -> None:
    model, (images, times, labels) = network(), a_batch()
    with torch.inference_mode():
        given_ = model(images, times, labels)
        free = model(images, times, torch.full_like(labels, model.classes))
        found = guided(model, labels, guidance, model.classes)(images, times)
    assert not torch.allclose(given_, free, atol=1e-4)
    expected = {0.0: free, 1.0: given_, 2.0: 2 * given_ - free}.get(
        guidance, (1 - guidance) * free + guidance * given_
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "side", "inputs"),
    [((8,), 5, 1), ((8, 16), 6, 1), ((16, 8), 4, 3), ((8, 8, 24), 12, 3), ((8, 8, 8, 8), 8, 1)],
)
def test_the_velocity_has_the_images_shape(
    channels: tuple[int, ...], side: int, inputs: int
) -> None:
    images, times, labels = a_batch(2, (inputs, side, side))
    velocity = network(channels, inputs)(images, times, labels)
    assert velocity.shape == images.shape
    assert velocity.isfinite().all()


def test_image_time_and_label_each_change_the_velocity_of_their_own_sample_alone() -> None:
    model, (images, times, labels) = network(), a_batch()
    with torch.inference_mode():
        before = model(images, times, labels)
        for changed in (
            model(images.index_fill(0, torch.tensor(0), 0.5), times, labels),
            model(images, times.index_fill(0, torch.tensor(0), 0.9), labels),
            model(images, times, labels.index_fill(0, torch.tensor(0), 2)),
        ):
            assert (changed[0] - before[0]).abs().max() > 1e-4
            torch.testing.assert_close(changed[1:], before[1:], rtol=0, atol=1e-5)


def test_waves_tell_times_apart_from_the_whole_to_a_thousandth() -> None:
    found = waves(torch.linspace(0, 1, 1001))
    assert found.shape == (1001, 64)
    assert found.abs().max() <= 1
    assert (found[1:] - found[:-1]).norm(dim=1).min() > 0.5
    assert (found[0] - found[-1]).norm() > 0.5


def test_a_fresh_networks_loss_is_near_that_of_one_that_says_nothing() -> None:
    trained = load(ROOT / "params.yaml").generative
    model = network(tuple(trained.train.channels), classes=10)
    tolerance = trained.check.first_loss_tolerance
    point = drawn_point(torch.rand(32, *SHAPE) * 2 - 1, torch.Generator().manual_seed(0))

    def loss(flow: torch.nn.Module) -> Tensor:
        said = flow(point.images, point.times, torch.arange(32) % 10)
        return functional.mse_loss(said, point.velocity)

    assert _first_loss(model, loss, point.velocity, tolerance).held
    with torch.no_grad():
        model.head.weight *= 300
    assert not _first_loss(model, loss, point.velocity, tolerance).held


@pytest.mark.parametrize("guidance", [1.0, 1.25])
def test_the_seed_alone_decides_the_samples(guidance: float) -> None:
    model, labels = network(), np.array([0, 1, 2, 1])
    first, again, other = (
        drawn(model, labels, SHAPE, seed, params(guidance=guidance)) for seed in (5, 5, 6)
    )
    assert first.shape == (4, *SHAPE)
    assert first.dtype == np.uint8
    assert first.tobytes() == again.tobytes()
    assert (first != other).any(axis=(1, 2, 3)).all()
    assert len({image.tobytes() for image in first}) == 4


@pytest.mark.parametrize(
    ("channels", "shape"),
    [
        ((8, 16), (1, 8, 8)),
        ((8,), (3, 4, 4)),
        ((8, 16), (1, 6, 6)),
        ((8,), (1, 9, 9)),
    ],
)
def test_the_first_samples_are_those_that_fewer_labels_would_have_given(
    channels: tuple[int, ...], shape: tuple[int, int, int]
) -> None:
    model, labels = network(channels, shape[0]), np.array([0, 1, 2, 1, 0, 2, 2])
    whole = drawn(model, labels, shape, 5, params()).astype(int)
    for count in range(1, 7):
        few = drawn(model, labels[:count], shape, 5, params()).astype(int)
        assert np.abs(whole[:count] - few).max() <= 1, count  # up to rounding


def test_more_samples_than_are_drawn_at_once_are_those_of_one_noise() -> None:
    model, labels = network((8,)), np.arange(260) % 3
    whole = drawn(model, labels, (1, 4, 4), 5, params(solver_steps=1)).astype(int)
    assert whole.shape == (260, 1, 4, 4)
    few = drawn(model, labels[:255], (1, 4, 4), 5, params(solver_steps=1)).astype(int)
    assert np.abs(whole[:255] - few).max() <= 1
    assert len({image.tobytes() for image in whole}) == 260


def test_samples_of_another_label_differ_where_the_noise_is_the_same() -> None:
    model = network()
    with torch.no_grad():
        model.head.weight *= 30  # a fresh network says too little
    one, other = (drawn(model, np.full(3, label), SHAPE, 5, params()) for label in (0, 1))
    assert (one != other).any(axis=(1, 2, 3)).all()


def test_between_two_noises_each_step_is_about_as_far_as_the_last() -> None:
    model = network()
    found = between(model, 1, SHAPE, 0, 9, params()).astype(float)
    assert found.shape == (9, *SHAPE)
    steps = np.sqrt(((found[1:] - found[:-1]) ** 2).mean(axis=(1, 2, 3)))
    assert steps.max() < 2 * steps.min()
    whole = np.sqrt(((found[-1] - found[0]) ** 2).mean())
    assert steps.max() < whole / 2


def test_every_parameter_of_the_network_has_a_say() -> None:
    for channels, inputs in product([(8,), (8, 16)], [1, 3]):
        model, (images, times, labels) = network(channels, inputs), a_batch(8, (inputs, 4, 4))
        labels = torch.arange(8) % 4  # the last one: no label
        model(images, times, labels).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name
