"""Pretrained parts of Hugging Face: found, described, made smaller."""
