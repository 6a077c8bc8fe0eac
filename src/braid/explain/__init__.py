"""What a finished model makes of its inputs."""

from braid.explain.audit import Audit, InputReport, audit

__all__ = ["Audit", "InputReport", "audit"]
