"""Takes an ONNX file that somebody else made: says what is wrong with it before anything is evaluated, and names its
input and output as Ratchet's own exports are named.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import export
from models.export import Exported
from ratchet.errors import Refusal
from ratchet.recipe import Recipe
from ratchet.session import write_vocabulary

_MAX_MB = 512
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Whose operators ONNX Runtime has."""
_RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
_OWN = "own_"
_NEXT = "Correct the trainer; docs/recipes.md says what its file must be"


def adopt(
    recipe: Recipe, path: Path, folder: Path, vocabulary: Sequence[str], inputs: np.ndarray, expected: np.ndarray | None
) -> np.ndarray:
    """Writes the file as `folder`'s model, and returns its outputs [N, width] for the inputs.

    `expected` are the outputs that the trainer's framework gives. Raises Refusal if the file cannot be served, or its
    outputs are not those.
    """
    import onnx
    import onnx.compose

    size = path.stat().st_size / 1e6
    if size > _MAX_MB:
        raise Refusal(f"it has {size:.0f} MB, more than {_MAX_MB}", path.name, "Make the model smaller")
    try:
        graph = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(graph)
    except Exception as error:  # protobuf and ONNX have many types
        raise Refusal(f"it is no ONNX model ({_first(error)})", path.name, _NEXT) from error
    _check_nodes(graph, path)
    graph = onnx.compose.add_prefix(graph, _OWN)  # none of its names is one of ours
    _name_input(recipe, graph, path)
    _name_output(recipe, graph, path)
    model = folder / export.MODEL
    onnx.save(graph, model)
    if vocabulary:
        write_vocabulary(model, vocabulary)
    return _try(recipe, Exported(model, recipe.contract), inputs, expected)


def finish(recipe: Recipe, folder: Path, temperature: float) -> Exported:
    """The model, with its probabilities scaled by the temperature inside the graph."""
    import onnx

    path = folder / export.MODEL
    if temperature != 1.0:
        graph = onnx.load(path)
        export.rename(graph, recipe.answers.output, "unscaled")
        export.scale(graph, temperature)
        export.rename(graph, graph.graph.output[0].name, recipe.answers.output)
        onnx.save(graph, path)
    return Exported(path, recipe.contract)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _check_nodes(graph: Any, path: Path) -> None:
    for node in _nodes(graph):
        if node.domain not in _DOMAINS:
            what = f"its operator {node.op_type} is of {node.domain!r}, which ONNX Runtime does not have"
            raise Refusal(what, path.name, _NEXT)
        if node.op_type in _RANDOM:
            raise Refusal(f"its operator {node.op_type} gives other outputs each time", path.name, _NEXT)
        if node.op_type == "ZipMap":
            what = "its probabilities are a list of dictionaries (ZipMap)"
            raise Refusal(what, path.name, "Convert it with options={'zipmap': False}, or zipmap=False")
    if any(tensor.data_location == 1 for tensor in graph.graph.initializer):
        raise Refusal("its weights are in another file", path.name, "Save them in the model")


def _nodes(model: Any) -> Iterator[Any]:
    """All nodes, those of branches, loops and functions included."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting += attribute.g.node
            for graph in attribute.graphs:
                waiting += graph.node


def _dims(value: Any) -> list[int | None]:
    """The sizes of a tensor's axes; None where it is open."""
    return [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]


def _name_input(recipe: Recipe, graph: Any, path: Path) -> None:
    from onnx import TensorProto, helper

    constants = {tensor.name for tensor in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in constants]
    example = recipe.contract.features(recipe.contract.example())
    shape = example.shape[1:]
    if len(inputs) != 1:
        names = ", ".join(value.name.removeprefix(_OWN) for value in inputs)[:200]
        raise Refusal(
            f"it has {len(inputs)} inputs ({names}), not one of the shape [N, {_joined(shape)}]", path.name, _NEXT
        )
    (value,) = inputs
    dims, type = _dims(value), value.type.tensor_type.elem_type
    if (
        len(dims) != 1 + len(shape)
        or dims[0] is not None
        or any(one not in (None, other) for one, other in zip(dims[1:], shape, strict=False))
    ):
        shown = ", ".join("N" if dim is None else str(dim) for dim in dims)
        raise Refusal(f"its input has the shape [{shown}], not [N, {_joined(shape)}] with any N", path.name, _NEXT)
    if type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32):
        name = TensorProto.DataType.Name(type)
        raise Refusal(f"its input is of the type {name}, not FLOAT, DOUBLE, INT64 or INT32", path.name, _NEXT)
    # Its own name stays within the graph, since branches may read it, too.
    graph.graph.node.insert(0, helper.make_node("Cast", [recipe.contract.kind], [value.name], to=type))
    value.name = recipe.contract.kind
    value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(example.dtype)


def _joined(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _name_output(recipe: Recipe, graph: Any, path: Path) -> None:
    """Keeps the one output with `width` floats a record; a vector [N] of numbers becomes [N, 1]."""
    from onnx import TensorProto, helper

    width, floats = recipe.answers.width, (TensorProto.FLOAT, TensorProto.DOUBLE)
    fitting = [
        value
        for value in graph.graph.output
        if value.type.tensor_type.elem_type in floats
        and ((dims := _dims(value)) == [] or dims[1:] in ([width], [None], [] if width == 1 else [width]))
    ]
    named = [value for value in fitting if "prob" in value.name.lower()]
    likely = named if len(fitting) > 1 and named else fitting
    if len(likely) != 1:
        names = ", ".join(f"{value.name.removeprefix(_OWN)} {_dims(value)}" for value in graph.graph.output)[:300]
        what = f"{len(likely)} of its outputs ({names}) are {recipe.answers.output} [N, {width}]"
        raise Refusal(what, path.name, _NEXT)
    (value,) = likely
    name = value.name
    graph.graph.node.extend([
        helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["as_float", "as_shape"], ["adopted"]),
    ])  # fmt: skip
    graph.graph.initializer.append(helper.make_tensor("as_shape", TensorProto.INT64, [2], [-1, width]))
    del graph.graph.output[:]
    graph.graph.output.append(helper.make_tensor_value_info("adopted", TensorProto.FLOAT, ["N", width]))
    export.rename(graph, "adopted", recipe.answers.output)


def _try(recipe: Recipe, model: Exported, inputs: np.ndarray, expected: np.ndarray | None) -> np.ndarray:
    try:
        outputs = model.predict(inputs)
        alone, again = model.predict(inputs[:1]), model.predict(inputs)
    except Refusal:
        raise
    except Exception as error:  # ONNX Runtime has many types
        raise Refusal(f"ONNX Runtime cannot run it ({_first(error)})", model.path.name, _NEXT) from error
    answers, which = recipe.answers, model.path.name
    if outputs.shape != (len(inputs), answers.width):
        wanted = [len(inputs), answers.width]
        raise Refusal(f"its output has the shape {list(outputs.shape)}, not {wanted}", which, _NEXT)
    if not np.isfinite(outputs).all():
        raise Refusal("some of its outputs are not finite", which, "Lower the learning rate, or inspect the data")
    if answers.classes and (np.abs(outputs.sum(axis=1) - 1) > 1e-3).any():
        raise Refusal("its outputs are no probabilities: they do not sum to 1", which, "End it with a softmax")
    if np.abs(alone - outputs[:1]).max() > answers.tolerance or np.abs(again - outputs).max() > answers.tolerance:
        raise Refusal("its outputs for the same input differ from call to call", which, _NEXT)
    if expected is not None:
        if expected.shape != outputs.shape:
            what = f"the trainer's own outputs have the shape {list(expected.shape)}, not {list(outputs.shape)}"
            raise Refusal(what, which, _NEXT)
        worst = float(np.abs(outputs - expected).max())
        if not worst <= answers.tolerance:
            what = f"its outputs differ by {worst:.2g} from those of the trainer's framework"
            raise Refusal(what, which, "Convert it with enough precision")
    return outputs
