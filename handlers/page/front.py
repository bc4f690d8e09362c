"""GET /, /page/{file} and /sw.js: the web page, for whoever asks for HTML."""

from handlers.page.bundle import Bundle, PageFile, page_bundle
from handlers.service.docs import Home
from jan.errors import NotFound
from jan.handler import Handler
from jan.operation import Example, operation
from jan.schema.scopes import PUBLIC

# Nothing inline, nothing from elsewhere, and text becomes HTML by one policy only (https://www.w3.org/TR/trusted-types/).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types jan"
)
# The version of whoever does not know its name.
_CURRENT = "current"
# The files of one version never change (RFC 8246).
_FOR_EVER = "public, max-age=31536000, immutable"


class _FileHandler(Handler):
    """Sends files of the page."""

    @property
    def bundle(self) -> Bundle:
        """The files of the page of this server."""
        return page_bundle(self.services.settings.server.api_prefixes[0].strip("/"))

    def send_file(self, file: PageFile) -> None:
        """Send a file, compressed if the browser takes that."""
        self.set_header("Content-Type", file.media_type)
        body = file.plain
        if file.zipped is not None:
            self.add_header("Vary", "Accept-Encoding")
            if "gzip" in self.request.headers.get("Accept-Encoding", ""):
                self.set_header("Content-Encoding", "gzip")
                body = file.zipped
        self.finish(body)

    def set_page_policy(self) -> None:
        """Say what the page may do, and who may embed it."""
        self.set_header("Content-Security-Policy", _POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Permissions-Policy", "camera=(), geolocation=(), microphone=()")


class Front(Home, _FileHandler):
    """The server's root: the page for a person with a browser, and Swagger UI for anything else."""

    @operation(
        summary="Home",
        access=PUBLIC,
        tag="documentation",
        redirect="To Swagger UI, unless `Accept` names text/html and the page is on",
        limit="none",
        examples=(Example(summary="What is here?"),),
    )
    async def get(self) -> None:
        """Return the page if `Accept` names text/html. Otherwise, and with `endpoints: {page: off}`, redirect to
        Swagger UI."""
        self.set_header("Vary", "Accept")
        if not self.services.settings.has_page or "text/html" not in self.request.headers.get("Accept", ""):
            await super().get()
            return
        self.set_page_policy()
        self.send_file(self.bundle.shell)


class PageFiles(_FileHandler):
    """The page's styles, scripts and texts."""

    @operation(
        summary="A file of the page",
        access=PUBLIC,
        tag="documentation",
        media_type="text/javascript",
        limit="none",
        errors=(NotFound,),
        examples=(Example(summary="The script that begins", path={"file": "current/app.js"}),),
    )
    async def get(self, file: str) -> None:
        """Return a file of the page: below the name of the running version, for which browsers may keep it for
        ever, or below `current`."""
        version, _, name = file.partition("/")
        found = self.bundle.files.get(name) if version in (self.bundle.version, _CURRENT) else None
        if found is None:
            raise NotFound("The page has no such file in this version. Load the page again.")
        if version != _CURRENT:
            self.set_header("Cache-Control", _FOR_EVER)
        self.send_file(found)


class PageWorker(_FileHandler):
    """The script that keeps the page's files in the browser, so that it opens without a network."""

    @operation(
        summary="The page's service worker",
        access=PUBLIC,
        tag="documentation",
        media_type="text/javascript",
        limit="none",
        examples=(Example(summary="The script"),),
    )
    async def get(self) -> None:
        """Return the script, which names the running version of the page."""
        self.set_page_policy()
        self.send_file(self.bundle.worker)
