"""Two runtimes for a saved model with the same small protocol: ``torch.py``, and ``onnx.py``, which does not need torch."""
