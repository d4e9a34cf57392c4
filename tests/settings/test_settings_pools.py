import pytest

from asyncjobs.settings import load


def pool(**keys):
    return [{"queues": ["default"], "concurrency": 1} | keys]


@pytest.mark.parametrize(
    "queues",
    [
        ["*"],
        ["mail*"],
        ["-bulk"],
        ["-bulk*"],
        ["*", "-bulk"],
        ["a.b:c-d_E9"],
        ["x" * 64],
        ["x" * 64 + "*"],
        ["mail", "mail*"],
    ],
)
def test_a_pool_takes_names_patterns_and_exclusions(queues):
    assert load(pools=pool(queues=queues)).pools[0].queues == tuple(queues)


@pytest.mark.parametrize(
    "queue",
    ["", "-", "-*", "**", "m*il", "*mail", "a b", "a\n", "é", "x" * 65, "-" + "x" * 65, "a,b", "--odd", 5, None, True],
)
def test_anything_else_is_no_queue(problems, queue):
    found = problems(pools=pool(queues=["ok", queue]))
    assert len(found) == 1
    assert found[0].startswith("argument pools[0].queues[1]: ")
    assert "is no queue; give a name, 1 to 64 of" in found[0]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"queues": []}, 'queues: an empty list is not allowed; name a queue, or "*" for all'),
        ({"queues": ["a", "b", "a"]}, 'queues: "a" is listed twice; remove one'),
        ({"queues": ["a", "-a"]}, 'queues: "a" is both taken and left out; remove "a" or "-a"'),
        ({"concurrency": 0}, "concurrency: 0 is not allowed; give a whole number from 1 to 10000"),
        ({"concurrency": 10_001}, "concurrency: 10001 is not allowed; give a whole number from 1 to 10000"),
        ({"concurrency": "1_0"}, 'concurrency: "1_0" is not allowed; give a whole number from 1 to 10000'),
        ({"processes": 0}, "processes: 0 is not allowed; give a whole number from 1 to 64"),
        ({"processes": 65}, "processes: 65 is not allowed; give a whole number from 1 to 64"),
        ({"order": "random"}, 'order: "random" is not allowed; give "strict" or "weighted"'),
        (
            {"weights": {"default": 1}},
            'weights: weights have no effect with order = "strict"; set order = "weighted" or remove them',
        ),
        (
            {"order": "weighted", "weights": {"low": 1}},
            'weights: "low" is no queue of this pool; weigh one of its queues: "default"',
        ),
        (
            {"queues": ["*", "-b"], "order": "weighted", "weights": {"-b": 1}},
            'weights: "-b" is no queue of this pool; weigh one of its queues: "*"',
        ),
        (
            {"order": "weighted", "weights": {"default": 0}},
            "weights.default: 0 is not allowed; give a whole number from 1 to 1000000",
        ),
        (
            {"order": "weighted", "weights": {"default": 1.5}},
            "weights.default: 1.5 is not allowed; give a whole number",
        ),
        ({"order": "weighted", "weights": 5}, "weights: 5 is not a table;"),
        (
            {"order": "weighted", "weights": {5: 1}},
            "weights[5]: 5 is not allowed; input should be a valid string",
        ),
        (
            {"queues": ["-b"], "order": "weighted", "weights": {"c": 1}},
            'weights: "c" is no queue of this pool; weigh one of its queues: none',
        ),
    ],
)
def test_a_pool_that_cannot_work_is_refused(problems, keys, expected):
    found = problems(pools=pool(**keys))
    assert len(found) == 1
    assert found[0].startswith(f"argument pools[0].{expected}")


def test_weights_belong_to_weighted_pools_and_may_name_some_queues_only():
    made = load(pools=pool(queues=["a", "b*"], order="weighted", weights={"b*": 3})).pools[0]
    assert made.weights == {"b*": 3}
    assert load(pools=pool(order="weighted")).pools[0].weights == {}


@pytest.mark.parametrize(
    ("keys", "lowest", "highest"),
    [
        ({}, {"concurrency": 1, "processes": 1}, {"concurrency": 10_000, "processes": 64}),
    ],
)
def test_limits_of_a_pool_are_themselves_allowed(keys, lowest, highest):
    for limits in (lowest, highest):
        made = load(pools=pool(**keys, **limits)).pools[0]
        assert (made.concurrency, made.processes) == (limits["concurrency"], limits["processes"])


@pytest.mark.parametrize(
    ("path", "low", "high"),
    [
        (("dispatcher", "batch_size"), 1, 5000),
        (("dispatcher", "polling_interval"), 0.05, 60),
        (("lease",), 1, 3600),
        (("shutdown_timeout",), 0, 3600),
        (("cleanup_timeout",), 0, 3600),
        (("loop_warning",), 0, 60),
        (("retention",), 0, 3650 * 86400),
        (("database_connections",), 1, 1000),
    ],
)
def test_limits_are_themselves_allowed_and_nothing_beyond(problems, path, low, high):
    def given(value):
        for key in reversed(path):
            value = {key: value}
        return value

    assert problems(**given(low)) == problems(**given(high)) == []
    for value in (low - 0.01 if isinstance(low, float) else low - 1, high + 1):
        assert problems(**given(value))[0].startswith(f"argument {'.'.join(path)}: {value} is not allowed; give ")
