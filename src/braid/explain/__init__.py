"""How a model uses its inputs: over many rows (``audit``), and in one row (``explaining``, ``ranking``; both need torch)."""

from braid.explain.attributions import InputAttribution
from braid.explain.audit import Audit, InputReport, audit
from braid.explain.explanation import Explanation

__all__ = ["Audit", "Explanation", "InputAttribution", "InputReport", "audit"]
