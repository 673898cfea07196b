"""What the columns go through before the network: quantiles, logarithms, arrangements; fitted on the train split alone."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import keras
import numpy as np
import pytest

from hvd_train.config import ModelConfig, recipes
from hvd_train.data import Dataset, prepare
from hvd_train.data.statistics import RunningStatistics
from hvd_train.distributed.world import World
from hvd_train.errors import ConfigError
from hvd_train.models.inputs import InputSpec, arranged_columns, positions_and_channels
from hvd_train.models.seeds import Seeds
from hvd_train.models.transforms import Fit, log_covariance, transformed
from hvd_train.training.compile import input_spec


def through(rows: np.ndarray, config: ModelConfig, spec: InputSpec) -> np.ndarray:
    x = keras.Input((rows.shape[1],))
    return np.asarray(
        keras.Model(x, transformed(x, config.transform, spec.mean, spec.std, spec.fit))(rows.astype(np.float32))
    )


def some_columns() -> tuple[np.ndarray, InputSpec]:
    rng = np.random.default_rng(0)
    rows = np.stack(
        [rng.normal(3, 2, 4000), rng.standard_t(1.5, 4000) * 10, rng.integers(0, 3, 4000), np.full(4000, 7.0)], axis=1
    )
    return rows, InputSpec(
        rows.mean(0), rows.std(0), (4, 1), Fit.of(ModelConfig(transform="quantile"), rows, rows.mean(0), rows.std(0))
    )


def test_quantiles_make_any_column_normal() -> None:
    rows, spec = some_columns()
    found = through(rows, ModelConfig(transform="quantile"), spec)
    for column in (0, 1):
        y, x = found[:, column], rows[:, column]
        order = np.argsort(x)
        assert (np.diff(y[order]) >= -1e-4).all()
        ranks = np.argsort(order) / 4000 + 0.5 / 4000
        inside = (ranks > 0.02) & (ranks < 0.98)
        normal = np.array([NormalDist().inv_cdf(r) for r in ranks[inside]])
        assert y[inside] == pytest.approx(normal, abs=0.08)  # a straight line between two quantiles
        assert abs(y).max() < 3.1
    assert len(np.unique(np.round(found[:, 2], 4))) == 3
    assert (found[:, 3] == found[0, 3]).all()


def whole(rows: np.ndarray, config: ModelConfig, spec: InputSpec) -> np.ndarray:
    """(N, L, C) what the network reads."""
    x = keras.Input((rows.shape[1],))
    model = keras.Model(x, positions_and_channels(x, config.inputs, spec, Seeds(0, 0)))
    return np.asarray(model(rows.astype(np.float32)))


@pytest.mark.parametrize("transform", ["standard", "quantile"])
def test_an_indicator_tells_where_a_value_is_missing(transform: str) -> None:
    rows, _ = some_columns()
    rows[::4, 1] = np.nan
    config = ModelConfig(transform=transform, missing_values="indicator")  # type: ignore[arg-type]
    statistics = RunningStatistics(4)
    statistics.add(rows.astype(np.float32))
    found = statistics.result()
    indicators = found.often_missing(len(rows))
    assert indicators == (1,)
    fit = Fit.of(config.inputs, rows, found.mean, found.std, indicators)
    # A value that is missing in new rows alone, as in the first column, has no indicator.
    new = np.array([[1.0, 2.0, 1.0, 7.0], [np.nan, np.nan, np.nan, np.nan]])
    x_NL = whole(new, config, InputSpec(found.mean, found.std, (4, 1), fit))[:, :, 0]
    assert x_NL.shape == (2, 5)
    assert x_NL[:, 4].tolist() == [0, 1]
    # The middle of each column: its mean, or its median.
    assert x_NL[1, :3] == pytest.approx(0, abs=1e-6)
    piecewise = ModelConfig(transform=transform, arrangement="piecewise", missing_values="indicator")  # type: ignore[arg-type]
    spec = InputSpec(found.mean, found.std, (4, 1), Fit.of(piecewise.inputs, rows, found.mean, found.std, indicators))
    assert whole(new, piecewise, spec).shape == (2, 5, 16)
    with pytest.raises(ConfigError, match="a row of 2 positions x 2 channels has no room for more columns"):
        whole(new, config, InputSpec(found.mean, found.std, (2, 2), fit))


def test_wild_and_missing_values_come_out_finite() -> None:
    _, spec = some_columns()
    wild = np.array([[np.nan, 1e7, -5, 8], [-1e6, np.nan, 9, np.nan]])
    assert np.isfinite(through(wild, ModelConfig(transform="quantile"), spec)).all()
    assert abs(through(wild, ModelConfig(transform="quantile"), spec)).max() < 4
    logs = through(wild, ModelConfig(transform="signed-log"), spec)
    z = np.nan_to_num((wild - spec.mean) / np.where(spec.std > 0, spec.std, np.inf))
    assert logs == pytest.approx(np.sign(z) * np.log1p(abs(z)), rel=1e-4, abs=1e-6)


def test_transforms_are_fitted_on_the_train_split_alone(world: World, tmp_path: Path) -> None:
    """A wild value in a row of test, or of val, changes nothing of what the model's first layers hold."""
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.integers(1990, 2000, 400), rng.normal(size=(400, 5))])
    specs = []
    for name in ("tame", "wild"):
        if name == "wild":
            table[-1, 3] = table[330, 3] = 1e9  # the last 80 rows are test, the 32 before them val
        path = tmp_path / f"{name}.csv"
        np.savetxt(path, table, delimiter=",")
        config = recipes.DEBUG.replace(
            table={"path": path, "cache_dir": tmp_path / "cache"},
            split={"method": "sequential", "test_fraction": 0.2},
            model={"transform": "quantile"},
        )
        dataset = Dataset.open(prepare(config.table, config.split))
        assert dataset.num_rows("test") == 80
        specs.append(input_spec(config, dataset))
    tame, wild = specs
    assert tame.mean.tolist() == wild.mean.tolist()
    assert tame.std.tolist() == wild.std.tolist()
    assert tame.fit.quantiles is not None
    assert wild.fit.quantiles is not None
    assert tame.fit.quantiles.tolist() == wild.fit.quantiles.tolist()


def test_the_covariance_arrangement_is_symmetric_and_has_every_column() -> None:
    covariance = np.arange(144).reshape(12, 12)
    covariance = covariance + covariance.T + 1000
    columns = np.concatenate([np.arange(12), *(np.diag(covariance, k) for k in range(12))])
    arranged = columns[arranged_columns()]
    assert (arranged[:, :12] == covariance).all()
    assert (arranged[:, 12] == np.arange(12)).all()
    assert sorted(set(arranged_columns().ravel())) == list(range(90))


def test_a_learnt_permutation_begins_near_the_order_as_it_is() -> None:
    spec = InputSpec(np.zeros(6), np.ones(6), (6, 1))
    x = keras.Input((6,))
    model = keras.Model(x, positions_and_channels(x, ModelConfig(arrangement="permutation"), spec, Seeds(0, 0)))
    matrix = np.asarray(model(np.eye(6, dtype=np.float32)))[:, :, 0]
    assert matrix.sum(0) == pytest.approx(1, abs=1e-3)
    assert matrix.sum(1) == pytest.approx(1, abs=0.02)
    assert (matrix.argmax(1) == np.arange(6)).all()
    assert any("order" in variable.path for variable in model.trainable_variables)


def test_the_logarithm_of_the_covariance_is_scipy_free_and_exact() -> None:
    """exp() of what comes out, by its power series, is the whitened covariance that went in."""
    rng = np.random.default_rng(0)
    songs, matrices = [], []
    for _ in range(5):
        root = rng.normal(size=(12, 12)) * 0.2 + np.eye(12)
        matrices.append(root @ root.T)
        songs.append(np.concatenate([rng.normal(size=12), *(np.diag(matrices[-1], k) for k in range(12))]))
    whitening = np.linalg.inv(np.linalg.cholesky(np.mean(matrices, axis=0)))
    found = np.asarray(log_covariance(keras.ops.convert_to_tensor(np.array(songs), "float32"), whitening))
    assert found[:, :12] == pytest.approx(np.array(songs)[:, :12], abs=1e-5)
    for song, matrix in zip(found, matrices, strict=True):
        log = song[arranged_columns()[:, :12]]
        power, exp = np.eye(12), np.eye(12)
        for n in range(1, 60):
            power = power @ log / n
            exp = exp + power
        assert exp == pytest.approx(whitening @ matrix @ whitening.T, abs=1e-3)


def test_songs_with_holes_or_flat_covariances_come_out_finite() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 90))
    for row in rows:
        root = rng.normal(size=(12, 12))
        row[12:] = np.concatenate([np.diag(root @ root.T, k) for k in range(12)])
    config = ModelConfig(transform="log-covariance")
    spec = InputSpec(rows.mean(0), rows.std(0), (90, 1), Fit.of(config, rows, rows.mean(0), rows.std(0)))
    assert through(rows, config, spec).std(0) == pytest.approx(1, abs=0.02)
    rows[0, 5], rows[1, 40], rows[2, 12:] = np.nan, np.nan, 0.0
    assert np.isfinite(through(rows[:3], config, spec)).all()


def test_whitened_rows_have_no_correlations_and_their_distance_beside_them() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 6)) @ rng.normal(size=(6, 6)) + 3
    rows[0, 2] = np.nan
    config = ModelConfig(whiten=True, name="linear")
    mean, std = np.nanmean(rows, 0), np.nanstd(rows, 0)
    spec = InputSpec(mean, std, (6, 1), Fit.of(config, rows, mean, std))
    x = keras.Input((6,))
    model = keras.Model(x, positions_and_channels(x, config, spec, Seeds(0, 0)))
    found = np.asarray(model(rows.astype(np.float32)))[:, :, 0]
    assert np.cov(found[:, :6].T) == pytest.approx(np.eye(6), abs=0.1)
    assert found[:, 6] == pytest.approx(np.log((found[:, :6] ** 2).mean(1) + 1e-3), abs=1e-4)


UNITS: dict[str, ModelConfig] = {
    "standard": ModelConfig(),
    "signed-log": ModelConfig(transform="signed-log"),
    "quantile": ModelConfig(transform="quantile"),
    "standard, whitened": ModelConfig(whiten=True),
    "quantile, whitened, permuted": ModelConfig(transform="quantile", whiten=True, arrangement="permutation"),
    "signed-log, projected": ModelConfig(transform="signed-log", arrangement="projection", projection="3x2"),
}


def arranged(rows: np.ndarray, config: ModelConfig, layout: tuple[int, int]) -> keras.Model:
    """The first layers of a network for these rows, fitted on them as `input_spec` fits them."""
    statistics = RunningStatistics(rows.shape[1])
    statistics.add(rows)
    found = statistics.result()
    fit = Fit.of(config, rows, found.mean, found.std)
    x = keras.Input((rows.shape[1],))
    return keras.Model(x, positions_and_channels(x, config, InputSpec(found.mean, found.std, layout, fit), Seeds(0, 0)))


@pytest.mark.parametrize("name", UNITS)
def test_what_a_network_reads_does_not_depend_on_the_unit(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = np.stack(
        [rng.normal(3, 2, 600), rng.standard_t(3, 600), rng.integers(0, 3, 600), np.full(600, 7), rng.normal(0, 1, 600), rng.exponential(1, 600)],
        axis=1,
    ).astype(np.float32)  # fmt: skip
    plain[5, 1] = np.nan
    model = arranged(plain, UNITS[name], (6, 1))
    expected = np.asarray(model(plain))
    # A saved model is Keras's own layers, and says the same.
    model.save(tmp_path / "m.keras")
    assert np.array_equal(np.asarray(keras.models.load_model(tmp_path / "m.keras")(plain)), expected)
    exponents = np.array([-100, 90, 3, -110, -50, 110])
    for scales in (np.ldexp(1.0, exponents), np.array([1e-30, 1e30, 1e-12, 1e-34, 1e26, 1e-7]), np.full(6, 1e-12)):
        scaled = (plain.astype(np.float64) * scales).astype(np.float32)
        found = np.asarray(arranged(scaled, UNITS[name], (6, 1))(scaled))
        if np.array_equal(scales, np.ldexp(1.0, exponents)):
            assert found.tobytes() == expected.tobytes()
        assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("whiten", [False, True])
def test_songs_in_another_unit_are_the_same_songs(whiten: bool) -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(400, 90)).astype(np.float32)
    for row in plain:
        root = rng.normal(size=(12, 12)) / 4 + 2 * np.eye(12)
        row[12:] = np.concatenate([np.diag(root @ root.T, k) for k in range(12)])
    config = ModelConfig(transform="log-covariance", arrangement="columns" if whiten else "covariance", whiten=whiten)
    expected = np.asarray(arranged(plain, config, (90, 1))(plain))
    for of_timbre in (np.full(12, 2.0**50), np.full(12, 1e-14), 10.0 ** rng.integers(-13, 14, 12)):
        scales = np.concatenate([of_timbre, *(np.diag(np.outer(of_timbre, of_timbre), k) for k in range(12))])
        scaled = (plain.astype(np.float64) * scales).astype(np.float32)
        assert np.asarray(arranged(scaled, config, (90, 1))(scaled)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("transform", ["standard", "signed-log", "quantile"])
def test_whitening_is_fitted_on_what_the_transform_makes_of_the_rows(transform: str) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(4000, 5)) @ rng.normal(size=(5, 5)) + 3).astype(np.float32)
    config = ModelConfig(transform=transform, whiten=True, name="linear")  # type: ignore[arg-type]
    found = np.asarray(arranged(rows, config, (5, 1))(rows))[:, :5, 0]
    assert np.cov(found.T) == pytest.approx(np.eye(5), abs=0.1)
