"""The known checkpoints, and which one is selected by default."""

import pytest

from musicgen_service.models.catalogue import CHECKPOINTS, CODEC, COMPONENTS, DIFFUSION, HTDEMUCS, T5, best

RELEASED = [name for name in CHECKPOINTS if name != "demo"]


def test_every_released_checkpoint_is_known() -> None:
    sizes = ["small", "medium", "large", "melody", "melody-large"]
    assert list(CHECKPOINTS) == [*sizes, *(f"stereo-{size}" for size in sizes), "demo"]


@pytest.mark.parametrize("name", RELEASED)
def test_properties_of_released_checkpoints(name: str) -> None:
    checkpoint = CHECKPOINTS[name]
    assert checkpoint.hub_id == f"facebook/musicgen-{name}"
    assert checkpoint.channels == (2 if name.startswith("stereo-") else 1)
    assert checkpoint.takes_melody == ("melody" in name)
    assert checkpoint.window == 30
    assert checkpoint.licence == "CC-BY-NC 4.0"
    size = name.removeprefix("stereo-")
    assert checkpoint.parameters == {"small": 300, "medium": 1500, "melody": 1500}.get(size, 3300)
    assert checkpoint.components == (T5, CODEC, DIFFUSION) + ((HTDEMUCS,) if "melody" in name else ())


def test_demo_needs_no_other_components() -> None:
    assert CHECKPOINTS["demo"].hub_id is None
    assert CHECKPOINTS["demo"].components == ()


def test_every_component_can_be_fetched() -> None:
    for checkpoint in CHECKPOINTS.values():
        assert set(checkpoint.components) <= set(COMPONENTS)


@pytest.mark.parametrize(
    ("present", "melody", "chosen"),
    [
        ([], False, None),
        (["small", "large"], True, None),
        (["demo"], False, "demo"),
        (["demo", "small"], True, "demo"),
        (["demo", "melody"], True, "melody"),
        (["small", "medium", "large"], False, "large"),
        (["large", "stereo-large"], False, "stereo-large"),
        (["large", "stereo-medium"], False, "large"),
        (["medium", "melody"], False, "medium"),
        (["stereo-melody", "stereo-medium"], False, "stereo-medium"),
        (["stereo-melody", "melody-large"], True, "melody-large"),
        (list(CHECKPOINTS), False, "stereo-large"),
        (list(CHECKPOINTS), True, "stereo-melody-large"),
    ],
)
def test_auto_selects_the_strongest_capable_checkpoint(present: list[str], melody: bool, chosen: str | None) -> None:
    assert best(present, melody) == chosen
    assert best(present[::-1], melody) == chosen
