"""Layers that model parts share: attention, convolutions, image tokens."""
