"""F20: what editors know of the contract language (`contracts.language`) is what the compiler and the machine know."""

import builtins
from inspect import signature
from typing import Any, get_args, get_type_hints

import pytest

from contracts import language
from contracts.compiler.words import FACTS, LENT, TYPES, WORDS
from contracts.vm.functions import HOST_FUNCTIONS
from contracts.vm.kinds import kind_of
from contracts.vm.types import Bool, Bytes, Int, Text, Type

KINDS: dict[type, Any] = {int: Int, str: Text, bytes: Bytes}


def declared(name: str) -> Type:
    """The type that an editor sees behind a name."""
    if name == "bool":
        return Bool()
    plain, limits = get_args(getattr(language, name))
    assert isinstance(limits, language.Range if plain is int else language.Size)
    return KINDS[plain](limits.least, limits.most)


def test_F20_the_words_are_those_of_the_compiler():
    assert len(language.__all__) == len(set(language.__all__))
    assert set(language.__all__) == {word for word in WORDS if not hasattr(builtins, word)}
    assert [word for word in language.__all__ if word not in vars(language) | get_type_hints(language)] == []
    assert sorted(word for word in WORDS if hasattr(builtins, word)) == ["bool", "len", "max", "min", "range"]


@pytest.mark.parametrize("name", TYPES)
def test_F20_a_type_has_the_bounds_of_the_compiler(name):
    assert declared(name) == kind_of(TYPES[name])


@pytest.mark.parametrize("word", LENT)
def test_F20_a_function_of_the_host_takes_as_many_values_as_its_stub(word):
    assert len(signature(getattr(language, word)).parameters) == len(HOST_FUNCTIONS[LENT[word]].params)


@pytest.mark.parametrize(("word", "name"), FACTS)
def test_F20_a_fact_of_the_call_is_a_field_of_its_stub(word, name):
    assert name in get_type_hints(get_type_hints(language)[word])
    assert HOST_FUNCTIONS[FACTS[word, name]].params == ()


def test_F20_every_function_of_the_host_has_a_word():
    assert sorted([*LENT.values(), *FACTS.values()]) == list(range(len(HOST_FUNCTIONS)))
