"""The HTTP face: four requests, and one sentence for what is wrong with one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from cold_service.scoring import BadRequest, can_be_written
from cold_service.service import Known, Service, Unavailable

MOST = 10_000  # candidates or rows of one request


def _as_text(value: Any) -> Any:
    """Ids are texts; whole numbers are taken for them."""
    if isinstance(value, str) and not can_be_written(value):
        raise ValueError("this text has half a letter")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[StrictStr, BeforeValidator(_as_text), Field(min_length=1, max_length=1000)]
Values = dict[str, Any]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt name is told, not ignored


class ToScore(Body):
    user: Id
    candidates: list[Id] = Field(min_length=1, max_length=MOST)
    context: Values = {}
    user_features: Values = {}


class NewItem(Body):
    item: Id
    features: Values


class Row(Body):
    user: Id
    item: Id
    label: float
    context: Values = {}


class Feedback(Body):
    rows: list[Row] = Field(min_length=1, max_length=MOST)


def create_app(service: Service) -> FastAPI:
    """The application of a service; ``/docs`` describes it."""

    @asynccontextmanager
    async def until_the_end(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(title="Cold-start click-through rates", lifespan=until_the_end)

    @app.post("/score")
    def score(asked: ToScore) -> Any:
        """Click probabilities of a user's candidates, in their order; how each was answered."""
        return JSONResponse(service.score(**dict(asked)))

    @app.post("/vector")
    def vector(new: NewItem) -> Any:
        """The vector of a new item from its features; it can be scored from now on."""
        return JSONResponse(service.vector(new.item, new.features))

    @app.post("/feedback", status_code=202)
    def feedback(given: Feedback) -> Any:
        """Rows with labels: kept when this answers, learned in the background."""
        return JSONResponse(service.feedback([row.model_dump() for row in given.rows]), 202)

    @app.get("/health")
    def health() -> Any:
        """Which model answers, its ancestors, and what waits to be learned."""
        return JSONResponse(service.health())

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] in ("json_invalid", "model_attributes_type"):
            return _refused("the body is no JSON object (Content-Type: application/json)", 422)
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return _refused(f"{where}: {first['msg']}", 422)

    @app.exception_handler(BadRequest)
    def bad(request: Request, error: BadRequest) -> JSONResponse:
        return _refused(str(error), 409 if isinstance(error, Known) else 400)

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> JSONResponse:
        return _refused(str(error), 503)

    return app


def _refused(sentence: str, status: int) -> JSONResponse:
    # A request may have letters that no file can be written with.
    return JSONResponse({"error": sentence.encode(errors="replace").decode()}, status)
