"""Reads a predictor's schema as Cog's build does: from the source, by literals alone.

`cog build` never imports the predictor. Whatever is not a plain literal it drops, garbles or refuses;
here it is refused, so that a test can say where.
"""

import ast
from typing import Any

_TYPES: dict[str, dict[str, str]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "Path": {"type": "string", "format": "uri"},
}
_BOUNDS = {"ge": "minimum", "le": "maximum"}


class Trap(Exception):
    """Code that Cog's static parser would drop, misread or reject."""


def read(source: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The `Input` schema, the enumerations and the `Output` schema of `Predictor.run`."""
    tree = ast.parse(source)
    [predictor] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Predictor"]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    methods = {node.name: node for node in predictor.body if isinstance(node, functions)}
    if "run" not in methods or "predict" in methods:
        raise Trap("the method must be run() and not predict()")
    run = methods["run"]
    if run.args.vararg or run.args.kwarg or run.args.kwonlyargs or run.args.posonlyargs:
        raise Trap("only plain parameters are read")
    names = run.args.args[1:]
    if len(run.args.defaults) != len(names):
        raise Trap("every parameter needs an Input")
    properties, enums, required = {}, {}, []
    for order, (parameter, call) in enumerate(zip(names, run.args.defaults, strict=True)):
        kind, optional = _type(parameter)
        keywords = _keywords(parameter.arg, call)
        entry: dict[str, Any] = {"x-order": order}
        if "choices" in keywords:
            enums[parameter.arg] = {
                "title": parameter.arg,
                "description": "An enumeration.",
                "enum": keywords["choices"],
                "type": kind["type"],
            }
            entry["allOf"] = [{"$ref": f"#/components/schemas/{parameter.arg}"}]
        else:
            entry |= {"title": parameter.arg.replace("_", " ").title(), **kind}
        if keywords.get("default") is not None:
            entry["default"] = keywords["default"]
        elif "default" in keywords:
            raise Trap(f"{parameter.arg}: a default of None is published as null, or makes the input required")
        elif not optional:
            required.append(parameter.arg)
        if optional:
            entry["nullable"] = True
        entry["description"] = keywords["description"]
        entry |= {_BOUNDS[bound]: keywords[bound] for bound in _BOUNDS if bound in keywords}
        properties[parameter.arg] = entry
    schema = {"title": "Input", "type": "object", "properties": properties}
    return schema | ({"required": required} if required else {}), enums, {"title": "Output", **_output(tree, run)}


def _output(tree: ast.Module, run: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Any]:
    """A file, a list of files, or a class of this source with a file in every field."""
    name = ast.unparse(run.returns) if run.returns else ""
    if name == "Path":
        return _TYPES["Path"]
    if name == "list[Path]":
        return {"type": "array", "items": _TYPES["Path"]}
    models = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not models or [ast.unparse(base) for base in models[0].bases] != ["BaseModel"]:
        raise Trap(f"the output {name} is not a type that is read")
    properties = {}
    for field in models[0].body[1:]:  # after the docstring
        if not (isinstance(field, ast.AnnAssign) and ast.unparse(field) == f"{ast.unparse(field.target)}: Path = None"):
            raise Trap(f"the output has a field that is no optional file: {ast.unparse(field)}")
        title = ast.unparse(field.target).replace("_", " ").title()
        properties[ast.unparse(field.target)] = {"title": title, **_TYPES["Path"]}
    return {"type": "object", "properties": properties}


def _type(parameter: ast.arg) -> tuple[dict[str, str], bool]:
    if parameter.annotation is None:
        raise Trap(f"{parameter.arg} has no type")
    text = ast.unparse(parameter.annotation)
    optional = text.startswith("Optional[")
    inner = text.removeprefix("Optional[").removesuffix("]") if optional else text
    if inner not in _TYPES:
        raise Trap(f"{parameter.arg}: {text} is not a type that is read")
    return _TYPES[inner], optional


def _keywords(name: str, call: ast.expr) -> dict[str, Any]:
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "Input"):
        raise Trap(f"{name}: the default must be an Input")
    if call.args:
        raise Trap(f"{name}: a positional default is ignored")
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise Trap(f"{name}: ** is not read")
        if keyword.arg == "description":
            _plain_text(name, keyword.value)
        found[keyword.arg] = _literal(name, keyword.arg, keyword.value)
    if "description" not in found:
        raise Trap(f"{name} has no description")
    return found


def _literal(name: str, keyword: str, value: ast.expr) -> Any:
    """A constant, a negated constant or a list of constants; a name or a sum would be dropped."""
    if isinstance(value, ast.Constant):
        return value.value
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub) and isinstance(value.operand, ast.Constant):
        number = value.operand.value
        assert isinstance(number, int | float)
        return -number
    if isinstance(value, ast.List) and all(isinstance(item, ast.Constant) for item in value.elts):
        return [item.value for item in value.elts if isinstance(item, ast.Constant)]
    raise Trap(f"{name}: {keyword} is not a literal: {ast.unparse(value)}")


def _plain_text(name: str, value: ast.expr) -> None:
    if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
        raise Trap(f"{name}: the description is not one string")
    if value.lineno != value.end_lineno or value.end_col_offset != value.col_offset + len(value.value) + 2:
        raise Trap(f"{name}: a description in several pieces or with escapes is garbled")
