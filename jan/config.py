"""Settings: typed, from YAML and the environment; a mistake is one line with file, path, what is allowed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from jan.addresses import is_loopback
from jan.errors import ConfigurationError
from jan.schema.explain import explain
from jan.sign_in_settings import SignInSettings

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]

ANYONE = "anyone-who-can-reach-this-server"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``port`` 0 takes a free one. ``grace_seconds``: how long answers under way may take at shutdown.
    ``keepalive_seconds``: a comment goes out on a stream that is silent for so long."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 4 * 1024 * 1024
    grace_seconds: Seconds = 30.0
    keepalive_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    api_prefixes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("/api/v1", "/v1")


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``anonymous``: whether requests without credentials may use the models."""

    anonymous: Literal["refuse", "on-loopback", "anyone-who-can-reach-this-server"] = "on-loopback"


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``url``: sqlite:///relative.db, sqlite:////absolute.db or mongodb://...; none is jan.db in the data
    folder. ``timeout_seconds``: how long a request waits for a store that is away."""

    url: str | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0)] = 2.0

    def __repr__(self) -> str:
        return "StorageSettings(...)"  # the URL may hold a password


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``token_seconds``: a token's life. ``refresh_grace_seconds``: how long after it the token can still be
    exchanged, once. ``session_seconds``: how long a session can be prolonged. ``create_admin``: make an
    administrator and a key at the first start, and print the key."""

    algorithm: Literal["HS256", "RS256", "EdDSA"] = "HS256"
    issuer: str = "jan-server"
    audience: str = "jan-server"
    token_seconds: Annotated[float, msgspec.Meta(gt=0)] = 3600.0
    refresh_grace_seconds: Seconds = 7 * 86400.0
    session_seconds: Annotated[float, msgspec.Meta(gt=0)] = 90 * 86400.0
    leeway_seconds: Annotated[float, msgspec.Meta(ge=0, le=300)] = 10.0
    key_rotation_grace_seconds: Seconds = 86400.0
    create_admin: bool = True


class ExternalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Services elsewhere that GET /status probes. ``serper_url``: of the Serper search API."""

    serper_url: str | None = None


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``format`` auto: readable on a terminal, JSON elsewhere."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A served model. ``load`` lazy: at its first request. ``options`` are the engine's own."""

    id: Name
    engine: str
    aliases: tuple[Name, ...] = ()
    load: Literal["eager", "lazy"] = "eager"
    max_waiting: Annotated[int, msgspec.Meta(ge=1)] = 256
    options: dict[str, Any] = {}


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL. In ``path``, ``{api}`` stands for each of server.api_prefixes, ``{name}`` for one part of the
    path, ``{name:path}`` for the rest of it. ``handler`` is a class by its dotted name."""

    path: str
    handler: str
    name: str
    options: dict[str, Any] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration. ``data``: where the server keeps its files."""

    data: str = "data"
    server: ServerSettings = ServerSettings()
    access: AccessSettings = AccessSettings()
    storage: StorageSettings = StorageSettings()
    auth: AuthSettings = AuthSettings()
    sign_in: SignInSettings = SignInSettings()
    external: ExternalSettings = ExternalSettings()
    log: LogSettings = LogSettings()
    models: tuple[ModelSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()

    @property
    def storage_url(self) -> str:
        """The store's URL; may hold a password."""
        return self.storage.url or f"sqlite:///{Path(self.data) / 'jan.db'}"


_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_OVERRIDE = "JAN__"


def default_config_file() -> Path:
    """The configuration that comes with the package."""
    return Path(__file__).resolve().parent.parent / "conf" / "jan.yaml"


def load_settings(file: Path, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read a configuration. ``overrides``: ``server__port=0`` and the like, None for none.

    Raises ConfigurationError, its message one line with file, path and what is allowed.
    """
    tree = _read(file, environ)
    for variable in sorted(name for name in environ if name.startswith(_OVERRIDE)):
        _assign(tree, variable, variable.removeprefix(_OVERRIDE).lower().split("__"), environ[variable])
    for key, value in overrides.items():
        if value is not None:
            _assign(tree, key, key.split("__"), value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        why = explain(error, Settings)
        raise ConfigurationError(f"{file}: {why.path or 'the document'}: {why.message}") from error
    _check_exposure(file, settings)
    _check_names(file, settings)
    return settings


def _read(file: Path, environ: Mapping[str, str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's mapping, its variables filled in, on top of the file that it ``extends``."""
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: can't be read: {getattr(error, 'strerror', error)}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise ConfigurationError(f"{file}:{line} not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{file}: must be a mapping, not a {type(tree).__name__}")
    try:
        tree = {key: _fill(value, file, str(key), environ) for key, value in tree.items()}
    except RecursionError as error:
        raise ConfigurationError(f"{file}: an anchor in it contains its own alias, or it is too deep") from error
    base = tree.pop("extends", None)
    if base is None:
        return tree
    parent = (file.parent / str(base)).resolve()
    if not parent.is_file():
        raise ConfigurationError(f"{file}: extends: there is no file {base}")
    if parent in seen:
        raise ConfigurationError(f"{file}: extends: {base} leads back to this file")
    return _merge(_read(parent, environ, (*seen, file.resolve())), tree)


def _fill(value: Any, file: Path, path: str, environ: Mapping[str, str]) -> Any:
    """Replace ``${NAME}`` and ``${NAME:-default}`` in every text of the tree."""
    if isinstance(value, dict):
        return {key: _fill(item, file, f"{path}.{key}", environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, file, f"{path}[{index}]", environ) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = environ.get(match["name"], match["default"])
        if found is None:
            raise ConfigurationError(
                f"{file}: {path}: the environment has no {match['name']}; "
                f"set it, or write ${{{match['name']}:-default}}"
            )
        return found

    return _VARIABLE.sub(substitute, value)


def _merge(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``base``: mappings key by key, routes path by path, anything else as a whole."""
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        elif key == "routes" and isinstance(below, list) and isinstance(value, list):
            merged[key] = _merge_routes(below, value)
        else:
            merged[key] = value
    return merged


def _merge_routes(base: list[Any], above: list[Any]) -> list[Any]:
    paths = [route.get("path") for route in above if isinstance(route, dict)]
    return [*(route for route in base if not isinstance(route, dict) or route.get("path") not in paths), *above]


def _assign(tree: dict[str, Any], source: str, keys: list[str], value: Any) -> None:
    """Set one value deep in the tree; a text that is a YAML list or mapping is read as one."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{source}: not valid YAML: {getattr(error, 'problem', error)}") from error
    node: Any = tree
    for key in keys[:-1]:
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            node = node.setdefault(key, {})
        else:
            raise ConfigurationError(f"{source}: there is nothing at '{key}' to set")
    if not isinstance(node, dict):
        raise ConfigurationError(f"{source}: '{keys[-1]}' can't be set there")
    node[keys[-1]] = value


def _check_exposure(file: Path, settings: Settings) -> None:
    if settings.access.anonymous == "on-loopback" and not is_loopback(settings.server.host):
        raise ConfigurationError(
            f"{file}: access.anonymous: server.host {settings.server.host} can be reached from other machines, "
            f"and requests without credentials are allowed on loopback only; allowed here: 'refuse', or "
            f"'{ANYONE}' to let anyone use the models"
        )
    mistake = settings.sign_in.mistake(settings.server.host)
    if mistake is not None:
        raise ConfigurationError(f"{file}: sign_in.{mistake}")


def _check_names(file: Path, settings: Settings) -> None:
    """Model ids and aliases name one model each."""
    seen: dict[str, int] = {}
    for index, model in enumerate(settings.models):
        for name in (model.id, *model.aliases):
            if name in seen:
                raise ConfigurationError(
                    f"{file}: models[{index}]: '{name}' is the name of models[{seen[name]}] already"
                )
            seen[name] = index
