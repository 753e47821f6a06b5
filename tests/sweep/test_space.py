"""The space: what is drawn, what it sets, and what is refused before anything runs."""

from datetime import date
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_vq.errors import UserError
from lightning_vq.sweep.space import encoded, option, read_space, sizes


@given(st.integers(1, 6), st.integers(1, 4000), st.integers(1, 4000))
def test_sizes_fall_from_the_larger_to_the_smaller(depth: int, first: int, last: int) -> None:
    made = sizes(depth, first, last)
    assert made == sorted(set(made), reverse=True)
    assert 1 <= len(made) <= depth
    if depth == 1:
        assert made == [first]
    else:
        assert (made[0], made[-1]) == (max(first, last), min(first, last))


def test_one_parameter_sets_several_keys() -> None:
    keys = ["a.user.sizes", "a.item.sizes"]
    told = {"sizes": {"keys": keys, "depth": 2, "first": {"choices": [100]}, "last": 10}}
    (parameter,) = read_space(told)
    study = optuna.create_study()
    trial = study.ask()
    value = parameter.drawn.suggest(trial, parameter.name)
    assert value == [100, 10]
    assert parameter.options(value) == ["--a.user.sizes=[100, 10]", "--a.item.sizes=[100, 10]"]
    assert trial.params == {"sizes.depth": 2, "sizes.first": 100, "sizes.last": 10}


def test_choices_of_lists_reach_optuna_as_text_and_the_config_as_lists() -> None:
    (parameter,) = read_space({"k": {"choices": [[500, 10], [40], None, True, "kmeans"]}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [parameter.drawn.suggest(study.ask(), "k") for _ in range(60)]
    assert {repr(value) for value in drawn} == {"[500, 10]", "[40]", "None", "True", "'kmeans'"}
    assert parameter.drawn.grid("k") == {"k": ["[500, 10]", "[40]", None, True, "kmeans"]}
    assert [option("k", v) for v in (None, True, [1], "x", 0.1)] == [
        "--k=null",
        "--k=true",
        "--k=[1]",
        "--k=x",
        "--k=0.1",
    ]
    assert encoded({"a": 1}) == '{"a": 1}'


def test_grids() -> None:
    grids = {
        "a": ({"low": 1, "high": 4}, [1, 2, 3, 4]),
        "b": ({"low": 1, "high": 6, "step": 2}, [1, 3, 5]),
        "c": ({"low": 0.0, "high": 1.0, "step": 0.5}, [0.0, 0.5, 1.0]),
        "d": ({"low": 0.0, "high": 1.0}, None),
        "e": ({"low": 1, "high": 8, "log": True}, None),
    }
    for parameter in read_space({name: told for name, (told, _) in grids.items()}):
        expected = grids[parameter.name][1]
        assert parameter.drawn.grid(parameter.name) == (None if expected is None else {parameter.name: expected})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"lr": [1, 2]}, "'lr' must be a mapping"),
        ({"lr": {"low": 1}}, "needs both low and high"),
        ({"lr": {"low": 2, "high": 1}}, "low must not be above high"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "must be positive for log"),
        ({"lr": {"low": "1e-3", "high": 1}}, "low is '1e-3', not a number; YAML reads 1e-3 as text, write 1.0e-3"),
        ({"lr": {"lo": 1, "high": 2}}, "unknown key 'lo'; did you mean 'low'?"),
        ({"lr": {"choices": []}}, "at least one value"),
        ({"lr": {"choices": [1, 1]}}, "holds one twice"),
        ({"lr": {"choices": [1, True]}}, "holds one twice"),
        ({"lr": {"choices": [date(2026, 1, 1)]}}, "is no plain value; put it in quotes?"),
        ({"lr": {"low": 1, "high": 2, "step": 0.5}}, "step is 0.5 between whole numbers; write 1.0"),
        ({"lr": {"low": 0.0, "high": float("inf")}}, "high is inf"),
        ({"lr": {"low": 1, "high": 2, "choices": [1]}}, "it has ['low', 'high', 'choices']"),
        ({"k": {"depth": 2, "first": 4}}, "depth, first and last; it has ['depth', 'first']"),
        ({"k": {"depth": 2, "first": 4.5, "last": 2}}, "'k.first' must be a whole number"),
        ({"k": {"depth": 0, "first": 4, "last": 2}}, "'k.depth': [0] must be whole numbers from 1"),
        ({"a": {"keys": ["x"], "choices": [1]}, "x": {"choices": [1]}}, "'a' and 'x' both set x"),
        ({"a": {"keys": "x", "choices": [1]}}, "keys must be a list"),
    ],
)
def test_what_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        read_space(told)
    assert message in str(error.value)
