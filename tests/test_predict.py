"""predict.py as Cog's build reads it, against the run-time's schema and the rules of requests."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cog import CancelationException

from musicgen_service.requests.fields import FIELDS
from musicgen_service.serving import schema
from tests.support import static_schema
from tests.support.static_schema import Trap

SOURCE = Path("predict.py").read_text()
PREDICTOR = (
    "from cog import BaseRunner, Input\nclass Predictor(BaseRunner):\n    def run(self, {}) -> list[Path]: ...\n"
)


def test_static_schema_equals_runtime_schema() -> None:
    schemas = schema.build("predict.py:Predictor")["components"]["schemas"]
    inputs, enums, output = static_schema.read(SOURCE)
    assert inputs == schemas["Input"]
    assert {name: schemas[name] for name in enums} == enums
    assert output == schemas["Output"]


def test_inputs_are_the_fields_in_order() -> None:
    inputs, _, _ = static_schema.read(SOURCE)
    assert list(inputs["properties"]) == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_an_input_has_the_bounds_of_its_field(name: str) -> None:
    inputs, enums, _ = static_schema.read(SOURCE)
    entry, field = inputs["properties"][name], FIELDS[name]
    assert entry.get("default") == field.default
    assert (entry.get("minimum"), entry.get("maximum")) == (field.minimum, field.maximum)
    assert tuple(enums[name]["enum"] if name in enums else ()) == (field.choices or ())


def test_nothing_is_required() -> None:
    assert "required" not in schema.build("predict.py:Predictor")["components"]["schemas"]["Input"]


TRAPS = {
    "an imported choice": 'x: str = Input(description="d", default="a", choices=NAMES)',
    "computed choices": 'x: str = Input(description="d", default="a", choices=sorted(["a"]))',
    "a default by name": 'x: int = Input(description="d", default=DEFAULT)',
    "a computed default": 'x: float = Input(description="d", default=1/3)',
    "a bound by name": 'x: int = Input(description="d", default=1, ge=LOW)',
    "a computed bound": 'x: int = Input(description="d", default=1, le=2*3)',
    "a positional default": 'x: int = Input(5, description="d")',
    "None as a default": 'x: Optional[int] = Input(description="d", default=None)',
    "None without Optional": 'x: int = Input(description="d", default=None)',
    "an f-string": 'x: int = Input(description=f"d{1}", default=1)',
    "a description by name": "x: int = Input(description=TEXT, default=1)",
    "a description in pieces": 'x: int = Input(description="a " "b", default=1)',
    "a description in brackets": 'x: int = Input(description=("a " "b"), default=1)',
    "an escape": r'x: int = Input(description="a\nb", default=1)',
    "no description": "x: int = Input(default=1)",
    "no type": 'x = Input(description="d", default=1)',
    "a Literal": 'x: Literal["a"] = Input(description="d", default="a")',
    "a union": 'x: Path | str = Input(description="d", default="a")',
    "keyword arguments": '**x: int',
    "keyword-only": '*, x: int = Input(description="d", default=1)',
    "a plain default": "x: int = 5",
}  # fmt: skip


@pytest.mark.parametrize("parameter", TRAPS.values(), ids=TRAPS.keys())
def test_static_parser_reports_unsupported_code(parameter: str) -> None:
    with pytest.raises(Trap):
        static_schema.read(PREDICTOR.format(parameter))


def test_schema_file_is_written_where_the_server_reads_it(tmp_path: Path) -> None:
    path = schema.write(tmp_path, "predict.py:Predictor")
    assert path == tmp_path / ".cog" / "openapi_schema.json"
    assert [file.name for file in path.parent.iterdir()] == ["openapi_schema.json"]


def test_internal_failure_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    from predict import Predictor

    class Broken:
        def generate(self, _inputs: dict[str, Any]) -> None:
            raise RuntimeError("the disk is full")

    predictor = Predictor()
    predictor.service = Broken()  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        asyncio.run(predictor.run(**{name: field.default for name, field in FIELDS.items()}))
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("kind", [asyncio.CancelledError, CancelationException])
def test_metrics_of_a_cancelled_prediction_are_dropped(kind: type[BaseException]) -> None:
    from predict import Predictor

    noted = threading.Event()

    def endless(_arguments: Any, metrics: dict[str, Any]) -> None:
        metrics["task"] = "text"
        noted.set()
        while True:
            time.sleep(0.001)

    async def cancelled() -> None:
        waiting = predictor.run_request({})
        waiting.send(None)
        assert noted.wait(60)
        with pytest.raises(kind):
            waiting.throw(kind())

    predictor, recorded = Predictor(), dict[str, Any]()
    predictor.carry_out = endless  # type: ignore[assignment,method-assign]
    predictor.record_metric = recorded.__setitem__
    asyncio.run(cancelled())
    assert recorded == {}
