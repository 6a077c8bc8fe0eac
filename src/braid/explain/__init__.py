"""What a finished model makes of its inputs: over many rows (``audit``), and in one (``explaining``, ``ranking``; on torch)."""

from braid.explain.audit import Audit, InputReport, audit
from braid.explain.explanation import Explanation, InputAttribution

__all__ = ["Audit", "Explanation", "InputAttribution", "InputReport", "audit"]
