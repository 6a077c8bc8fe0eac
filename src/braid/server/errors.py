"""Errors as existing clients read them: ``{"error": {"message", "type", "param", "code"}}``."""

from typing import Any

from starlette.responses import JSONResponse

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: one sentence for people.
        param: the field that it is about.
        retry_after: seconds after which the same request may be answered; 0 does not say.
    """

    def __init__(self, status: int, code: str, message: str, param: str | None = None, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    @property
    def body(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, {"Retry-After": str(self.retry_after)} if self.retry_after else None)


def internal(request_id: str) -> ApiError:
    """What a client learns of a defect: where the log says more."""
    return ApiError(500, "internal_error", f"the server failed at this request; its log says more under {request_id}")
