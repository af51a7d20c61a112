"""The input `adapter`: its form, and the rules between adapters and models."""

import pytest

from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest

ADAPTERS = {"mystyle": "small", "drums": "small", "strings": "stereo-melody", "broken": ""}


def resolve(**inputs: object) -> GenerationRequest:
    return GenerationRequest.from_inputs({"prompt": "jazz"} | inputs, ["small", "stereo-melody"], ADAPTERS)


def problem(**inputs: object) -> str:
    with pytest.raises(RequestError) as error:
        resolve(**inputs)
    [sentence] = error.value.problems
    return sentence


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mystyle", [("mystyle", 1.0)]),
        ("mystyle:0.7", [("mystyle", 0.7)]),
        ("mystyle:0", [("mystyle", 0.0)]),
        (" mystyle:.5 + drums ", [("mystyle", 0.5), ("drums", 1.0)]),
    ],
)
def test_names_and_strengths_are_read(text: str, named: list[tuple[str, float]]) -> None:
    request = resolve(adapter=text)
    assert request.adapters == named
    assert request.model_version == "small"
    # What a recipe has, gives the same adapters.
    assert resolve(adapter=request.adapter).adapters == named


def test_no_adapter_is_the_default() -> None:
    assert resolve().adapters == resolve(adapter="  ").adapters == []


@pytest.mark.parametrize("text", ["mystyle:", ":1", "a+", "a++b", "a:b", "../a", "a:-1", "a:1e3", "a b", "é"])
def test_other_forms_are_refused(text: str) -> None:
    assert problem(adapter=text).startswith("adapter must be names of adapters, joined by +")


def test_strengths_and_numbers_of_adapters_have_bounds() -> None:
    assert problem(adapter="mystyle:2.5") == "The strength of an adapter may be 0 to 2, not 2.5."
    assert problem(adapter="a+b+c+d+e") == "A request may have 4 adapters at most, not 5."
    assert problem(adapter="drums+drums:0.5") == "adapter names 'drums' twice: name it once."


def test_unknown_adapter_is_refused_with_a_suggestion() -> None:
    assert problem(adapter="mystile") == (
        "There is no adapter 'mystile' (did you mean 'mystyle'?): present are mystyle, drums, strings, broken."
    )


def test_model_follows_the_adapter() -> None:
    assert resolve(adapter="strings").model_version == "stereo-melody"
    assert resolve(adapter="strings", model_version="stereo-melody").model_version == "stereo-melody"
    assert problem(adapter="strings", model_version="small") == (
        "Adapter 'strings' was trained on model 'stereo-melody', and model_version is 'small': leave model_version out."
    )


def test_adapters_of_different_models_do_not_go_together() -> None:
    assert "'mystyle' on 'small' and 'strings' on 'stereo-melody'" in problem(adapter="mystyle+strings")


def test_where_adapters_are_not_known_any_name_is_allowed() -> None:
    assert GenerationRequest.from_inputs({"prompt": "x", "adapter": "far"}, ["small"]).adapters == [("far", 1.0)]
