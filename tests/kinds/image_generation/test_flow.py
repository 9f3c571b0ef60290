"""Path, solver and network of the flow agree with their equations."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import default_task
from torch import Tensor
from torch.nn import functional

from stages.kinds.image_generation.check import check_first_velocity_loss
from stages.kinds.image_generation.inputs import (
    point_on_path,
    random_point,
    to_pixels,
    to_signed,
)
from stages.kinds.image_generation.model import (
    Flow,
    draw_samples,
    guided_velocity,
    interpolate,
    solve_heun,
    time_embedding,
)
from stages.kinds.image_generation.schema import EvaluateFlow

SHAPE = (1, 8, 8)
DEFAULTS = default_task("generative").params


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """Set torch to one thread: for networks this small a second one only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def evaluate_params(**changes: object) -> EvaluateFlow:
    values = {**DEFAULTS.evaluate.model_dump(), "solver_steps": 2, **changes}
    return EvaluateFlow.model_validate(values)


def network(channels: tuple[int, ...] = (8, 16), inputs: int = 1, classes: int = 3) -> Flow:
    torch.manual_seed(0)
    return Flow(list(channels), inputs, classes).eval()


def random_batch(
    count: int = 6, shape: tuple[int, int, int] = SHAPE
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((count, *shape), generator=generator)
    return images, torch.rand(count, generator=generator), torch.arange(count) % 3


def maximum_difference(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


# Pixels and paths.


def test_every_pixel_survives_conversion_to_signed_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    signed = to_signed(pixels)
    assert signed.dtype == torch.float32
    assert [signed.min().item(), signed.max().item()] == [-1, 1]
    np.testing.assert_array_equal(to_pixels(signed), pixels)
    assert to_pixels(signed).dtype == np.uint8


def test_values_outside_are_clipped_and_others_rounded() -> None:
    assert to_pixels(torch.tensor([-9.0, -1.01, 1.01, 9.0])).tolist() == [0, 0, 255, 255]
    near = torch.tensor([100.4, 100.6]) / 127.5 - 1
    assert to_pixels(near).tolist() == [100, 101]


def test_the_path_runs_from_the_noise_to_the_image() -> None:
    noise, images = torch.randn((2, 4, *SHAPE), generator=torch.Generator().manual_seed(0))
    assert torch.equal(point_on_path(noise, images, torch.zeros(4)).images, noise)
    assert torch.equal(point_on_path(noise, images, torch.ones(4)).images, images)
    half = point_on_path(noise, images, torch.full((4,), 0.5)).images
    torch.testing.assert_close(half, (noise + images) / 2)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_velocity_is_the_derivative_of_the_path(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise, images = torch.randn((2, 5, *SHAPE), generator=generator, dtype=torch.float64)
    times, step = torch.rand(5, generator=generator, dtype=torch.float64), 1e-4
    point = point_on_path(noise, images, times)
    later = point_on_path(noise, images, times + step)
    torch.testing.assert_close((later.images - point.images) / step, point.velocity)
    assert torch.equal(point.times, times)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 64), st.integers(0, 1000))
def test_times_are_stratified(count: int, seed: int) -> None:
    point = random_point(torch.zeros(count, 1, 4, 4), torch.Generator().manual_seed(seed))
    within = point.times.sort().values * count - torch.arange(count)
    assert within.min() >= -1e-4
    assert within.max() <= 1 + 1e-4


def test_times_are_in_random_order_and_uniform_within_their_stratum() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.stack(
        [random_point(torch.zeros(16, 1, 4, 4), generator).times for _ in range(400)]
    )
    assert times.mean(dim=0).sub(0.5).abs().max() < 0.08  # of every position in the batch
    within = times * 16 % 1
    assert within.mean() == pytest.approx(0.5, abs=0.02)
    assert within.var() == pytest.approx(1 / 12, abs=0.01)


def test_a_random_point_lies_on_a_path_from_normal_noise_to_its_image() -> None:
    images = torch.linspace(-1, 1, 64).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    point = random_point(images, torch.Generator().manual_seed(0))
    share = point.times.view(-1, 1, 1, 1)
    torch.testing.assert_close(point.images + (1 - share) * point.velocity, images)
    noise = point.images - share * point.velocity
    assert noise.mean() == pytest.approx(0, abs=0.06)
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_the_generator_alone_determines_the_point() -> None:
    images = torch.zeros(8, *SHAPE)
    first, same, different = (
        random_point(images, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first.images, different.images)
    assert not torch.equal(first.times, different.times)


# The solver.


def times_as(state: Tensor, times: Tensor) -> Tensor:
    return times.view(-1, *[1] * (state.ndim - 1)).to(state.dtype)


Equation = tuple[Callable[[Tensor, Tensor], Tensor], float]
# dx/dt, and x at time 1 from x = 1 at time 0.
EQUATIONS: dict[str, Equation] = {
    "x": (lambda x, _: x, math.e),
    "-2 t x squared": (lambda x, t: -2 * times_as(x, t) * x**2, 1 / 2),
    "x cos t": (lambda x, t: x * torch.cos(times_as(x, t)), math.exp(math.sin(1))),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_the_solver_converges_with_second_order(name: str) -> None:
    velocity, end = EQUATIONS[name]
    start = torch.ones(3, 1, 1, 1, dtype=torch.float64)
    errors = [
        (solve_heun(velocity, start, steps) - end).abs().max().item() for steps in (32, 64, 128)
    ]
    assert errors[2] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.3)
    assert errors[1] / errors[2] == pytest.approx(4, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 9))
def test_a_velocity_linear_in_time_is_solved_exactly(
    slope: float, constant: float, steps: int
) -> None:
    start = torch.tensor([[0.5], [-2.0]], dtype=torch.float64)
    end = solve_heun(lambda x, t: slope * times_as(x, t) + constant + 0 * x, start, steps)
    torch.testing.assert_close(end, start + slope / 2 + constant, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 6, 20])
def test_the_exact_flow_towards_a_single_image_ends_at_it(steps: int) -> None:
    image = to_signed(np.random.default_rng(0).integers(0, 256, (1, *SHAPE)).astype(np.uint8))
    start = torch.randn((5, *SHAPE), generator=torch.Generator().manual_seed(0))

    def velocity(state: Tensor, times: Tensor) -> Tensor:
        remaining = 1 - times_as(state, times)  # at the end 0/0: the constant velocity of the path
        return torch.where(remaining > 1e-6, (image - state) / remaining, image - start)

    end = solve_heun(velocity, start, steps)
    torch.testing.assert_close(end, image.expand_as(end), rtol=0, atol=1e-4)
    assert (to_pixels(end) == to_pixels(image)).all()


def test_the_exact_flow_towards_a_normal_distribution_ends_in_it() -> None:
    mean, deviation = 0.4, 0.5
    start = torch.randn((200, 1, 4, 4), generator=torch.Generator().manual_seed(0))

    def velocity(state: Tensor, times: Tensor) -> Tensor:
        t = times_as(state, times)  # Lipman et al. (2023), theorem 3: mean and deviation move
        rate = (t * deviation**2 - (1 - t)) / ((1 - t) ** 2 + (t * deviation) ** 2)
        return mean + rate * (state - t * mean)

    end = solve_heun(velocity, start, 50)
    torch.testing.assert_close(end, mean + deviation * start, rtol=0, atol=2e-3)


# The network.


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 1.25, 2.0])
def test_guidance_extrapolates_from_no_label_past_the_label(guidance: float) -> None:
    model, (images, times, labels) = network(), random_batch()
    with torch.inference_mode():
        conditional = model(images, times, labels)
        unconditional = model(images, times, torch.full_like(labels, model.classes))
        velocity = guided_velocity(model, labels, guidance, model.classes)(images, times)
    assert not torch.allclose(conditional, unconditional, atol=1e-4)
    expected = (1 - guidance) * unconditional + guidance * conditional
    torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "side", "inputs"),
    [((8,), 5, 1), ((8, 16), 6, 1), ((16, 8), 4, 3), ((8, 8, 24), 12, 3), ((8, 8, 8, 8), 8, 1)],
)
def test_the_velocity_has_the_shape_of_the_images(
    channels: tuple[int, ...], side: int, inputs: int
) -> None:
    images, times, labels = random_batch(2, (inputs, side, side))
    velocity = network(channels, inputs)(images, times, labels)
    assert velocity.shape == images.shape
    assert velocity.isfinite().all()


def test_image_time_and_label_affect_the_velocity_of_their_own_sample_only() -> None:
    model, (images, times, labels) = network(), random_batch()
    with torch.inference_mode():
        before = model(images, times, labels)
        for changed in (
            model(images.index_fill(0, torch.tensor(0), 0.5), times, labels),
            model(images, times.index_fill(0, torch.tensor(0), 0.9), labels),
            model(images, times, labels.index_fill(0, torch.tensor(0), 2)),
        ):
            assert (changed[0] - before[0]).abs().max() > 1e-4
            torch.testing.assert_close(changed[1:], before[1:], rtol=0, atol=1e-5)


def test_the_time_embedding_distinguishes_times_a_thousandth_apart() -> None:
    embedded = time_embedding(torch.linspace(0, 1, 1001))
    assert embedded.shape == (1001, 64)
    assert embedded.abs().max() <= 1
    assert (embedded[1:] - embedded[:-1]).norm(dim=1).min() > 0.5
    assert (embedded[0] - embedded[-1]).norm() > 0.5


def test_every_parameter_of_the_network_gets_a_gradient() -> None:
    for channels, inputs in product([(8,), (8, 16)], [1, 3]):
        model, (images, times, _) = network(channels, inputs), random_batch(8, (inputs, 4, 4))
        labels = torch.arange(8) % 4  # the last one: no label
        model(images, times, labels).square().mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_the_first_loss_is_checked_against_that_of_predicting_0() -> None:
    model = network(tuple(DEFAULTS.train.channels), classes=10)
    tolerance = DEFAULTS.check.first_loss_tolerance
    point = random_point(torch.rand(32, *SHAPE) * 2 - 1, torch.Generator().manual_seed(0))

    def loss(flow: torch.nn.Module) -> Tensor:
        velocity = flow(point.images, point.times, torch.arange(32) % 10)
        return functional.mse_loss(velocity, point.velocity)

    assert check_first_velocity_loss(model, loss, point.velocity, tolerance).passed
    with torch.no_grad():
        model.head.weight *= 300
    assert not check_first_velocity_loss(model, loss, point.velocity, tolerance).passed


# Samples.


@pytest.mark.parametrize("guidance", [1.0, 1.25])
def test_the_seed_alone_determines_the_samples(guidance: float) -> None:
    model, labels = network(), np.array([0, 1, 2, 1])
    params = evaluate_params(guidance=guidance)
    first, same, different = (
        draw_samples(model, labels, SHAPE, seed, params) for seed in (5, 5, 6)
    )
    assert first.shape == (4, *SHAPE)
    assert first.dtype == np.uint8
    assert first.tobytes() == same.tobytes()
    assert (first != different).any(axis=(1, 2, 3)).all()
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
def test_the_first_samples_do_not_depend_on_the_number_of_labels(
    channels: tuple[int, ...], shape: tuple[int, int, int]
) -> None:
    model, labels = network(channels, shape[0]), np.array([0, 1, 2, 1, 0, 2, 2])
    samples = draw_samples(model, labels, shape, 5, evaluate_params())
    for count in range(1, 7):
        fewer = draw_samples(model, labels[:count], shape, 5, evaluate_params())
        assert maximum_difference(samples[:count], fewer) <= 1, count  # up to rounding


def test_samples_of_several_batches_are_drawn_from_one_noise() -> None:
    model, labels, params = network((8,)), np.arange(260) % 3, evaluate_params(solver_steps=1)
    shape = (1, 4, 4)
    samples = draw_samples(model, labels, (1, 4, 4), 5, params)
    assert samples.shape == (260, *shape)
    fewer = draw_samples(model, labels[:255], shape, 5, params)
    assert maximum_difference(samples[:255], fewer) <= 1
    assert len({image.tobytes() for image in samples}) == 260


def test_samples_of_different_labels_differ_where_the_noise_is_the_same() -> None:
    model = network()
    with torch.no_grad():
        model.head.weight *= 30  # the output of an untrained network is too small
    first, second = (
        draw_samples(model, np.full(3, label), SHAPE, 5, evaluate_params()) for label in (0, 1)
    )
    assert (first != second).any(axis=(1, 2, 3)).all()


def test_interpolation_moves_in_even_steps() -> None:
    samples = interpolate(network(), 1, SHAPE, 0, 9, evaluate_params()).astype(float)
    assert samples.shape == (9, *SHAPE)
    steps = np.sqrt(((samples[1:] - samples[:-1]) ** 2).mean(axis=(1, 2, 3)))
    assert steps.max() < 2 * steps.min()
    total = np.sqrt(((samples[-1] - samples[0]) ** 2).mean())
    assert steps.max() < total / 2
