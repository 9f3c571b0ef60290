"""The generative baselines: Gaussians of the classes' moments, and samplers with seeds."""

import numpy as np
import pytest
from support.project import default_task

from stages.kinds.image_generation.gaussians import fit_gaussians, gaussian_sampler
from stages.kinds.image_generation.vae import Autoencoder, vae_sampler

SHAPE = (1, 4, 4)


def images_of_two_classes(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return images of two classes with different means and correlations, far from 0 and 255."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], count)
    flat = np.concatenate(
        [
            mean + 8 * random.standard_normal((count, 16)) @ random.standard_normal((16, 16)) / 2
            for mean in (100, 150)
        ]
    )
    return flat.round().clip(0, 255).astype(np.uint8).reshape(-1, *SHAPE), labels


def flatten(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


def test_all_axes_reproduce_the_covariance_and_fewer_its_largest_part() -> None:
    images, labels = images_of_two_classes()
    rows = np.arange(len(images))
    gaussians, largest = (fit_gaussians(images, rows, labels, 2, axes) for axes in (64, 3))
    for label in (0, 1):
        members = flatten(images[labels == label])
        np.testing.assert_allclose(gaussians[f"mean_{label}"], members.mean(axis=0), rtol=1e-5)
        factor, covariance = gaussians[f"factor_{label}"], np.cov(members.T)
        np.testing.assert_allclose(factor.T @ factor, covariance, atol=1e-5 * covariance.max())
        assert largest[f"factor_{label}"].shape == (3, 16)
        variances = (largest[f"factor_{label}"] ** 2).sum(axis=1)
        np.testing.assert_allclose(variances, np.linalg.eigvalsh(covariance)[:-4:-1], rtol=1e-3)


def test_only_the_images_at_the_rows_are_fitted() -> None:
    images, labels = images_of_two_classes()
    rows = np.random.default_rng(1).permutation(len(images))[:70]
    gaussians = fit_gaussians(images, rows, labels[rows], 2, 64)
    members = flatten(images[rows[labels[rows] == 1]])
    np.testing.assert_allclose(gaussians["mean_1"], members.mean(axis=0), rtol=1e-5)


def test_many_samples_have_the_mean_and_covariance_of_their_class() -> None:
    images, labels = images_of_two_classes()
    draw = gaussian_sampler(fit_gaussians(images, np.arange(len(images)), labels, 2, 64), SHAPE)
    sample_labels = np.arange(30_000) % 2
    samples = draw(sample_labels, 0)
    assert samples.dtype == np.uint8
    assert samples.shape == (30_000, *SHAPE)
    for label in (0, 1):
        members = flatten(images[labels == label])
        drawn = flatten(samples[sample_labels == label])
        covariance = np.cov(members.T)
        error = np.sqrt(covariance.diagonal().max() / 15_000)
        np.testing.assert_allclose(drawn.mean(axis=0), members.mean(axis=0), atol=5 * error)
        np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.06 * covariance.max())


def test_each_baseline_draws_the_same_samples_for_the_same_seed() -> None:
    images, labels = images_of_two_classes()
    gaussians = fit_gaussians(images, np.arange(len(images)), labels, 2, 64)
    vae = Autoencoder(default_task("generative").params.baseline.vae, SHAPE, 2)
    for draw in (gaussian_sampler(gaussians, SHAPE), vae_sampler(vae)):
        sample_labels = np.array([1, 0, 1, 1])
        assert draw(sample_labels, 3).tobytes() == draw(sample_labels, 3).tobytes()
        assert (draw(sample_labels, 3) != draw(sample_labels, 4)).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_class_of_one_image_is_fitted() -> None:
    images, labels = images_of_two_classes(6)
    rows = np.flatnonzero((labels == 0) | (np.arange(12) == 11))
    gaussians = fit_gaussians(images, rows, labels[rows], 2, 64)
    assert all(np.isfinite(values).all() for values in gaussians.values())
