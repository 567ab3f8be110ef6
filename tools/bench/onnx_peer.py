"""A request in ONNX Runtime, from the files of onnx_export.py. Imports no PyTorch: a server would not."""

import os

import numpy as np
import onnxruntime as ort


def onnx_file(folder, name, attention, copies):
    return os.path.join(folder, f"{name}.{attention}.x{copies}.onnx")


def session_options(threads, **entries):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    for key, value in entries.items():
        options.add_session_config_entry("session." + key, value)
    return options


def optimise(raw, path):
    options = session_options(1)
    options.optimized_model_filepath = path
    ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])


class OnnxRequest:
    """One session, one request, inputs and outputs in bound memory."""

    def __init__(self, path, threads):
        inputs = np.load(path + ".npz")
        self.session = ort.InferenceSession(path, session_options(threads, set_denormal_as_zero="1"), providers=["CPUExecutionProvider"])
        self.binding, self.kept = self.session.io_binding(), {}
        for spec in self.session.get_inputs():
            self.kept[spec.name] = ort.OrtValue.ortvalue_from_numpy(inputs[spec.name])
            self.binding.bind_ortvalue_input(spec.name, self.kept[spec.name])
        for spec in self.session.get_outputs():
            self.kept[spec.name] = ort.OrtValue.ortvalue_from_shape_and_type(spec.shape, np.float32)
            self.binding.bind_ortvalue_output(spec.name, self.kept[spec.name])

    def __call__(self):
        self.session.run_with_iobinding(self.binding)
        return self.kept["items"].numpy(), self.kept["lists"].numpy()
