"""Serves models with an HTTP API for existing clients, and a web page: ``braid serve``."""

from braid.server.config import Access, Limits

__all__ = ["Access", "Limits"]
