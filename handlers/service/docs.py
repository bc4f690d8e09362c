"""The OpenAPI document, made at start-up, and Swagger UI, from installed files and without a CDN."""

from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from jan.errors import NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import PUBLIC

_OWN = Path(__file__).parent / "static"
# The link of index.html that leads to the web page.
_TO_PAGE = b'    <nav class="swagger-ui wrapper"><a href="../../">To the web page</a></nav>\n'
# Only these names are served, so that no path can lead elsewhere.
_FILES = MappingProxyType(
    {
        "index.html": "text/html; charset=utf-8",
        "initializer.js": "text/javascript; charset=utf-8",
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "favicon-32x32.png": "image/png",
    }
)


class Document(Handler):
    """The OpenAPI document as JSON."""

    @operation(
        summary="The OpenAPI document",
        access=PUBLIC,
        tag="documentation",
        limit="none",
        examples=(Example(summary="What can it do?"),),
    )
    async def get(self) -> None:
        """Return the OpenAPI 3.1 document, which is generated from the handlers' declarations at start-up."""
        self.set_header("Content-Type", "application/json")
        self.finish(self.services.document)


class Home(Handler):
    """The server's root, which leads a browser to Swagger UI."""

    @operation(
        summary="Home",
        access=PUBLIC,
        tag="documentation",
        redirect="To Swagger UI",
        limit="none",
        examples=(Example(summary="What is here?"),),
    )
    async def get(self) -> None:
        """Redirect the browser to Swagger UI."""
        # Relative, in case a proxy serves this under another path.
        self.redirect("api/swagger/index.html")


class SwaggerUi(Handler):
    """The files of Swagger UI."""

    @operation(
        summary="Swagger UI",
        access=PUBLIC,
        tag="documentation",
        media_type="text/html",
        limit="none",
        errors=(NotFound,),
        examples=(Example(summary="The page", path={"file": "index.html"}),),
    )
    async def get(self, file: str) -> None:
        """Browse the endpoints and try them out. Start at index.html."""
        content_type = _FILES.get(file)
        if content_type is None:
            raise NotFound(f"No such file; available: {', '.join(_FILES)}.")
        self.set_header("Content-Type", content_type)
        # Swagger UI sets inline styles and shows images from data: URLs.
        self.set_header(
            "Content-Security-Policy",
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
        )
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "max-age=3600")
        body = _path(file).read_bytes()
        if not self.services.settings.has_page:
            body = body.replace(_TO_PAGE, b"")
        self.finish(body)


def _path(file: str) -> Path:
    """Return the path of our own page, or of a file of the installed Swagger UI."""
    own = _OWN / file
    if own.is_file():
        return own
    spec = find_spec("swagger_ui")
    assert spec is not None  # a core dependency
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "static" / file
