"""References: an object is stored as its key and loaded before the job runs."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from asyncjobs.exceptions import DeserializationError, InvalidArguments, InvalidDefinition, RecordNotFound
from asyncjobs.values import references
from asyncjobs.values.arguments import ArgumentCodec, Parameter, ValueCodec
from asyncjobs.values.references import register_reference


class Cloud:
    def __init__(self, id=None):
        self.id = id


class Thunder(Cloud):
    pass


class Database:
    def __init__(self):
        self.rows = {key: Cloud(key) for key in range(1, 10)}
        self.asked = []

    async def find(self, id: int) -> Cloud | None:
        self.asked.append(id)
        await asyncio.sleep(0)
        return self.rows.get(id)


@pytest.fixture(autouse=True)
def _no_references(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(references, "_references", {})


@pytest.fixture
def db():
    database = Database()
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=database.find)
    return database


def codec_for(annotation, **more):
    return ArgumentCodec("app.send", [Parameter("x", annotation, **more)])


async def through_the_row(codec, value):
    return (await codec.resolve(codec.load(codec.dump(codec.bind((value,), {})))))["x"]


async def test_an_object_is_stored_as_its_key_and_loaded_again(db):
    codec = codec_for(Cloud)
    cloud = Cloud(3)
    values = codec.bind((cloud,), {})
    assert values["x"] is cloud
    assert codec.dump(values) == '{"x":3}'
    assert codec.has_references
    assert await through_the_row(codec, cloud) is db.rows[3]


async def test_resolving_bound_values_leaves_the_objects_as_they_are(db):
    codec = codec_for(list[Cloud])
    cloud = Cloud(3)
    assert (await codec.resolve(codec.bind(([cloud],), {})))["x"] == [cloud]
    assert db.asked == []


@pytest.mark.parametrize(
    ("annotation", "wrap"),
    [
        (Cloud | None, lambda cloud: cloud),
        (list[Cloud], lambda cloud: [cloud, cloud]),
        (dict[str, Cloud], lambda cloud: {"a": cloud}),
        (tuple[Cloud, int], lambda cloud: (cloud, 1)),
        (tuple[Cloud, ...], lambda cloud: (cloud,)),
        (set[Cloud], lambda cloud: {cloud}),
        (dict[int, list[Cloud | None]] | None, lambda cloud: {1: [cloud, None]}),
        (Annotated[Cloud, Field(description="d")], lambda cloud: cloud),
    ],
)
async def test_references_are_loaded_inside_containers(db, annotation, wrap):
    assert await through_the_row(codec_for(annotation), wrap(Cloud(3))) == wrap(db.rows[3])


async def test_none_stays_none(db):
    assert await through_the_row(codec_for(Cloud | None), None) is None
    assert db.asked == []


async def test_other_arguments_are_left_alone(db):
    codec = ArgumentCodec("k", [Parameter("cloud", Cloud), Parameter("rows", list)])
    loaded = codec.load('{"cloud": 3, "rows": [1]}')
    assert await codec.resolve(loaded) == {"cloud": db.rows[3], "rows": [1]}
    assert not codec_for(int).has_references


async def test_a_loader_may_be_a_plain_function():
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=Cloud, key=int)
    assert (await through_the_row(codec_for(Cloud), Cloud(3))).id == 3


async def test_the_type_of_the_key_is_taken_from_the_loader():
    seen = []

    def load(key: UUID):
        seen.append(key)
        return Cloud(key)

    register_reference(Cloud, dump=lambda cloud: cloud.id, load=load)
    key = uuid4()
    assert (await through_the_row(codec_for(Cloud), Cloud(key))).id == key
    assert seen == [key]


async def test_the_type_of_the_key_can_be_given():
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=lambda key: Cloud(key), key=tuple[int, str])
    assert (await through_the_row(codec_for(Cloud), Cloud((1, "a")))).id == (1, "a")


async def test_a_key_of_no_known_type_is_plain_json():
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=lambda key: Cloud(key))
    assert (await through_the_row(codec_for(Cloud), Cloud({"a": [1]}))).id == {"a": [1]}


async def test_a_record_that_is_gone_is_not_found(db):
    codec = codec_for(Cloud)
    with pytest.raises(RecordNotFound, match="the Cloud of a stored key does not exist any more"):
        await codec.resolve(codec.load('{"x": 404}'))


@pytest.mark.parametrize("error", [RecordNotFound("gone"), LookupError(), KeyError(3)])
async def test_a_lookup_error_of_the_loader_means_gone(error):
    def load(key: int):
        raise error

    register_reference(Cloud, dump=lambda cloud: cloud.id, load=load)
    with pytest.raises(RecordNotFound, match="the Cloud of a stored key does not exist any more") as caught:
        await through_the_row(codec_for(Cloud), Cloud(3))
    assert caught.value.__cause__ is error


async def test_another_error_of_the_loader_can_be_retried():
    async def load(key: int):
        raise OSError("no route")

    register_reference(Cloud, dump=lambda cloud: cloud.id, load=load)
    with pytest.raises(
        DeserializationError, match="the Cloud of a stored key could not be loaded: OSError: no route"
    ) as caught:
        await through_the_row(codec_for(Cloud), Cloud(3))
    assert not isinstance(caught.value, RecordNotFound)
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_cancellation_of_the_loader_passes():
    async def load(key: int):
        raise asyncio.CancelledError

    register_reference(Cloud, dump=lambda cloud: cloud.id, load=load)
    with pytest.raises(asyncio.CancelledError):
        await through_the_row(codec_for(Cloud), Cloud(3))


def problems_of(annotation, value):
    codec = codec_for(annotation)
    with pytest.raises(InvalidArguments) as caught:
        codec.dump(codec.bind((value,), {}))
    return dict(caught.value.problems)


@pytest.mark.parametrize("value", [3, "3", None, object(), {"id": 3}])
def test_another_object_is_refused_when_the_job_is_made(db, value):
    codec = codec_for(Cloud)
    with pytest.raises(InvalidArguments, match="x: should be an instance of Cloud"):
        codec.bind((value,), {})


def test_an_object_without_a_key_is_refused_by_its_path(db):
    assert problems_of(Cloud | None, Cloud()) == {
        "x": "this Cloud has no key yet; save or flush it before making the job"
    }
    assert list(problems_of(dict[str, list[Cloud]], {"a": [Cloud(1), Cloud()]})) == ["x.a[1]"]


def test_a_dump_that_fails_is_refused_by_its_path():
    def dump(cloud):
        raise RuntimeError("detached")

    register_reference(Cloud, dump=dump, load=lambda key: Cloud(key))
    assert problems_of(list[Cloud], [Cloud(1)]) == {
        "x[0]": "dump of Cloud raised RuntimeError; correct it, save the object first, or load it again (refresh) "
        "if its session has expired it"
    }


@pytest.mark.parametrize("key", ["a", 2**64, 1.5, object()])
def test_a_key_that_is_not_of_its_type_is_refused(db, key):
    assert list(problems_of(Cloud, Cloud(key))) == ["x"]


@pytest.mark.parametrize("key", ["\x00", float("nan"), {1, 2}, "\ud800"])
def test_a_key_that_is_no_plain_json_is_refused(key):
    register_reference(Cloud, dump=lambda cloud: cloud.id, load=lambda key: Cloud(key))
    assert list(problems_of(Cloud, Cloud(key))) == ["x"]


def test_a_stored_key_of_the_wrong_type_is_refused(db):
    with pytest.raises(InvalidArguments, match="x: should be a valid integer"):
        codec_for(Cloud).load('{"x": "a"}')


async def test_an_object_of_a_subclass_is_accepted_and_loaded_by_the_same_reference(db):
    assert await through_the_row(codec_for(Cloud), Thunder(3)) is db.rows[3]


async def test_an_object_may_be_the_default(db):
    cloud = Cloud(3)
    codec = codec_for(Cloud, default=cloud)
    assert codec.bind((), {})["x"] is cloud
    assert codec.dump(codec.bind((), {})) == '{"x":3}'
    assert (await codec.resolve(codec.load("{}")))["x"] is cloud


async def test_a_registered_dataclass_is_a_reference_and_not_stored_by_value():
    @dataclass
    class Row:
        id: int
        text: str

    register_reference(Row, dump=lambda row: row.id, load=lambda key: Row(key, "loaded"), key=int)
    assert await through_the_row(codec_for(Row), Row(1, "stale")) == Row(1, "loaded")


async def test_registering_again_replaces_for_codecs_compiled_later(db):
    before = codec_for(Cloud)
    register_reference(Cloud, dump=lambda cloud: str(cloud.id), load=lambda key: Cloud(int(key)), key=str)
    assert before.dump({"x": Cloud(3)}) == '{"x":3}'
    assert codec_for(Cloud).dump({"x": Cloud(3)}) == '{"x":"3"}'


@pytest.mark.parametrize("annotation", [Cloud | int, Cloud | str | None, list[Cloud | Thunder]])
def test_a_union_whose_stored_key_could_be_another_type_is_refused(db, annotation):
    register_reference(Thunder, dump=lambda cloud: cloud.id, load=db.find)
    with pytest.raises(InvalidDefinition, match="a stored key does not say"):
        codec_for(annotation)


def test_a_reference_as_a_dict_key_is_refused(db):
    with pytest.raises(InvalidDefinition, match="keys"):
        codec_for(dict[Cloud, int])


def test_a_reference_as_a_result_is_refused(db):
    with pytest.raises(InvalidDefinition, match="the result cannot be a reference, .* use its key"):
        ValueCodec("k", Cloud | None)


def test_an_unregistered_class_is_refused_with_the_remedy():
    with pytest.raises(InvalidDefinition, match="app.send: x: Cloud cannot .* use register_reference"):
        codec_for(Cloud)


def test_what_cannot_be_registered_is_refused():
    nothing: Any = None
    with pytest.raises(InvalidDefinition, match="no class"):
        register_reference("Cloud", dump=id, load=id)
    with pytest.raises(InvalidDefinition, match="load is not callable"):
        register_reference(Cloud, dump=id, load=nothing)
