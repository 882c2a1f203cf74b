"""The web application of `facemask serve`: the page, and an API for the model and its predictions."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemask.data.images import ImageError, decode
from facemask.inference import page
from facemask.inference.page import Model
from facemask.inference.recognition import LabelledFace, Recognizer

MAX_UPLOAD = 20 * 2**20
MAX_PHOTOS = 16  # at a time, those waiting included; bounds the memory
MAX_CONNECTIONS = 512  # idle ones included
REQUEST_SECONDS = 10
HOSTS = ["127.0.0.1", "localhost"]
# The page may load only itself, this server and its own images.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class FoundFace(BaseModel):
    """A face; label and probability are null if it is too small."""

    box: tuple[int, int, int, int] = Field(description="left, top, right, bottom in pixels of the upright photo")
    score: float = Field(description="score of the detector, 0 to 1")
    label: str | None
    probability: float | None = Field(description="of the label, 0 to 1")
    probabilities: dict[str, float] = Field(description="of every class")


class Answer(BaseModel):
    """The faces in a photo."""

    width: int
    height: int
    milliseconds: float = Field(description="from decoding to labels, without waiting")
    faces: list[FoundFace]


class ServedModel(Model):
    """The model in use, and the limit of an upload."""

    largest_upload: int = Field(description="of a photo's file, in bytes")


class Connection(H11Protocol):
    """Closes if the client takes more than `REQUEST_SECONDS` to send a whole request.

    uvicorn has no timeout for the head or the body of a request.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._deadline.cancel()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._expire)

    def _expire(self) -> None:
        is_answering = self.cycle and not self.cycle.response_complete and not self.cycle.more_body
        if not is_answering:
            self.transport.abort()


def own_page(request: Request, origin: Annotated[str | None, Header(include_in_schema=False)] = None) -> None:
    """Refuse requests of other sites' pages in the user's browser."""
    host = request.headers["host"]
    if origin not in (None, f"http://{host}", f"https://{host}"):  # the latter behind a proxy
        raise HTTPException(403, f"requests from pages of {origin} are not answered")


def application(recognize: Recognizer, workers: int, card: str | None, host: str = "127.0.0.1") -> FastAPI:
    """The page and its API, for browsers on this machine and those that name the host it listens on. At most as many
    photos as workers are decoded at a time; others wait.
    """
    app = FastAPI(
        title="facemask", summary="Faces in a photo, and how they wear a mask.", docs_url=None, redoc_url=None,
        max_body_size=MAX_UPLOAD,
    )  # fmt: skip
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*HOSTS, host])
    pool, places = ThreadPoolExecutor(workers), asyncio.Semaphore(MAX_PHOTOS)
    classifier = recognize.classifier

    def look(content: bytes) -> tuple[tuple[int, ...], float, list[LabelledFace]]:
        start = time.perf_counter()
        pixels = np.asarray(decode(content))
        faces = recognize(pixels)
        return pixels.shape, 1000 * (time.perf_counter() - start), faces

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def index() -> HTMLResponse:
        return HTMLResponse(page.read("index.html"), headers={"Content-Security-Policy": POLICY})

    @app.get("/engine.js", include_in_schema=False)
    def engine() -> Response:
        return Response(page.read("server.js"), media_type="text/javascript")

    @app.get("/api/model")
    def model() -> ServedModel:
        """The model in use, its decision rule and its card."""
        return ServedModel(
            **page.described(classifier, recognize.min_size, card),
            largest_upload=MAX_UPLOAD,
        )

    @app.post(
        "/api/predict",
        dependencies=[Depends(own_page)],
        responses={
            403: {"description": "request of another site's page"},
            413: {"description": f"more than {MAX_UPLOAD:,} bytes"},
            422: {"description": "not an image, a broken one, or one with too many pixels"},
            503: {"description": f"{MAX_PHOTOS} photos are waiting already"},
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "The file of a photo, as it is",
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def predict(request: Request) -> Answer:
        """The faces in a photo: `curl --data-binary @photo.jpg http://127.0.0.1:8000/api/predict`."""
        if places.locked():
            raise HTTPException(503, f"{MAX_PHOTOS} photos are waiting already; try again", {"Retry-After": "1"})
        try:
            async with places:
                content = await request.body()
                shape, milliseconds, faces = await asyncio.get_running_loop().run_in_executor(pool, look, content)
        except ClientDisconnect:
            raise HTTPException(400, "the photo ended early") from None
        except ImageError as error:
            raise HTTPException(422, str(error)) from None
        described = [FoundFace(**face.described()) for face in faces]
        return Answer(width=shape[1], height=shape[0], milliseconds=round(milliseconds, 1), faces=described)

    return app
