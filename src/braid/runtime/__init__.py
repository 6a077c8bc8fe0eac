"""One saved model, run two ways behind one small protocol: ``torch.py``, and ``onnx.py``, which needs no torch."""
