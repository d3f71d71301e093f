"""Use of trained models: ONNX export, prediction, serving times, and the choice of a student."""
