"""The OpenAPI document is complete, and whatever it allows is sent, the server never fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from served import PATIENCE, Server

EXAMPLES = 20  # of each operation


def test_every_operation_has_bodies_examples_and_errors(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json", timeout=PATIENCE).json()
    operations = {path: methods["post"] for path, methods in document["paths"].items() if "post" in methods}
    assert set(operations) == {
        *(f"/v1/{task}" for task in ("caption", "answer", "classify", "embed", "search", "imagine")),
        "/v1/chat/completions",
        "/v1/embeddings",
    }
    for path, operation in operations.items():
        content = operation["requestBody"]["content"]
        assert "application/json" in content
        assert ("multipart/form-data" in content) == (path not in ("/v1/chat/completions", "/v1/embeddings"))
        assert {"200", "400", "401", "404", "413", "429", "500", "504"} <= set(operation["responses"])
        assert "422" not in operation["responses"]
    named = str(document)
    references = {part.partition("'")[0] for part in named.split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])


@pytest.fixture(scope="module")
def products(served_models: dict[str, Path]) -> Iterator[Server]:
    """A server of a model that reads an image, a text and a table."""
    with Server("--model", served_models["products"]) as running:
        yield running


@pytest.mark.parametrize("name", ["server", "products"])
def test_whatever_is_asked_the_server_never_fails(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    schemathesis = pytest.importorskip("schemathesis", reason="no package schemathesis to make requests with")
    from hypothesis import HealthCheck, Phase, settings

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    seen: dict[str, set[int]] = {}

    def ask(case: Any) -> None:
        answer = case.call(timeout=PATIENCE)
        seen.setdefault(case.operation.path, set()).add(answer.status_code)
        assert answer.status_code < 500, (case.operation.path, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    quick = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for result in schema.get_all_operations():
        operation = result.ok()
        case = operation.as_strategy()
        from hypothesis import given

        quick(given(case)(ask))()
    assert len(seen) == 13
    assert any(200 in statuses for path, statuses in seen.items() if path.startswith("/v1/"))
