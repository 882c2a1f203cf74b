"""`.tflite` models put together without TensorFlow: dense layers, and one model after another."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT

SIGNATURE, INPUT, OUTPUT = "serving_default", "inputs", "output_0"  # as the converter of TensorFlow names them


def read(model: bytes) -> "ModelT":
    """The objects of a .tflite model."""
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    return read_model_from_bytearray(model)


def written(model: "ModelT") -> bytes:
    """The bytes of a .tflite model."""
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    return bytes(convert_object_to_bytearray(model))


def dense(layers: list[tuple[np.ndarray, ...]]) -> bytes:
    """Dense layers as a .tflite model for one row: ReLU after each but the last, softmax after the last.

    Parameters
    ----------
    layers : list of (weights, bias)
        (inputs, outputs) and (outputs,), float32.
    """
    from ai_edge_litert import schema_py_generated as schema

    kinds = schema.BuiltinOperator, schema.BuiltinOptions, schema.ActivationFunctionType
    operators, options, activations = kinds
    graph = schema.SubGraphT(name=b"main", tensors=[], operators=[])
    model = schema.ModelT(version=3, description=b"facemask", subgraphs=[graph], buffers=[schema.BufferT()])
    codes = operators.FULLY_CONNECTED, operators.SOFTMAX
    model.operatorCodes = [
        schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1) for code in codes
    ]

    def tensor(name: str, shape: tuple[int, ...], content: bytes = b"") -> int:
        model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8) if content else None))
        graph.tensors.append(
            schema.TensorT(name=name.encode(), shape=list(shape), buffer=len(model.buffers) - 1, hasRank=True)
        )
        return len(graph.tensors) - 1

    last = tensor(f"{SIGNATURE}_{INPUT}:0", (1, len(layers[0][0])))
    graph.inputs = [last]
    for number, (weights, bias) in enumerate(layers):
        name = f"dense_{number}"
        fixed = [
            tensor(f"{name}/weights", weights.T.shape, np.ascontiguousarray(weights.T, "<f4").tobytes()),
            tensor(f"{name}/bias", bias.shape, np.ascontiguousarray(bias, "<f4").tobytes()),
        ]
        activation = activations.NONE if number == len(layers) - 1 else activations.RELU
        output = tensor(name, (1, len(bias)))
        graph.operators.append(
            schema.OperatorT(
                opcodeIndex=0, inputs=[last, *fixed], outputs=[output],
                builtinOptionsType=options.FullyConnectedOptions,
                builtinOptions=schema.FullyConnectedOptionsT(fusedActivationFunction=activation),
            )
        )  # fmt: skip
        last = output
    output = tensor("probabilities", (1, len(layers[-1][1])))
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=1, inputs=[last], outputs=[output],
            builtinOptionsType=options.SoftmaxOptions, builtinOptions=schema.SoftmaxOptionsT(beta=1.0),
        )
    )  # fmt: skip
    graph.outputs = [output]
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(name=INPUT.encode(), tensorIndex=graph.inputs[0])],
            outputs=[schema.TensorMapT(name=OUTPUT.encode(), tensorIndex=output)],
            signatureKey=SIGNATURE.encode(),
        )
    ]
    return written(model)


def chain(first: bytes, second: bytes) -> bytes:
    """A .tflite model that feeds the output of the first to the second; each has one input and one output.

    Its operations and constants are those of the two, so its outputs have the same bits.
    """
    model, other = read(first), read(second)
    [graph], [added] = model.subgraphs, other.subgraphs
    [joint], [entry] = graph.outputs, added.inputs
    buffers, codes, tensors = len(model.buffers), len(model.operatorCodes), len(graph.tensors)

    def moved(indices: list[int]) -> list[int]:
        # -1 stands for an optional input that is not given.
        return [joint if index == entry else index if index < 0 else index + tensors for index in indices]

    for tensor in added.tensors:
        tensor.name = b"trained/" + tensor.name  # the quantiser tells tensors apart by name
        tensor.buffer += buffers
    for operator in added.operators:
        operator.opcodeIndex += codes
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
    model.buffers += other.buffers
    model.operatorCodes += other.operatorCodes
    graph.tensors += added.tensors
    graph.operators += added.operators
    graph.outputs = moved(added.outputs)
    [signature] = model.signatureDefs
    [signature.outputs[0].tensorIndex] = graph.outputs
    return written(model)
