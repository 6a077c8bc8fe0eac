"""Models behind an HTTP API that existing clients speak, and a page: ``braid serve``."""

from braid.server.config import Access, Limits

__all__ = ["Access", "Limits"]
