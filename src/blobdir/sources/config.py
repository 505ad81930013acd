"""The user's configuration file: options of storages by URL, and of the cache. Written by hand, in TOML.

::

    [storage."s3://bucket"]        # for it and all below it; of several, the longest counts
    endpoint_url = "https://s3.example.org"
    key = "…"
    secret = "…"

    [cache]
    dir = "/scratch/blobdir"
    size = "200GiB"
"""

from __future__ import annotations

import json
import os
import tomllib
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from platformdirs import user_config_path

from blobdir.errors import BlobdirWarning, UsageError
from blobdir.sources.secrecy import without_secrets

_OTHERS = 0o077
_PORTS = {"http": 80, "https": 443}
_KNOWN = {"storage", "cache"}
_CACHE = {"dir", "size"}


def storage_value(text: str) -> Any:
    """A value of a storage option: JSON where it's some, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def config_file() -> Path:
    """``$BLOBDIR_CONFIG``, or ``config.toml`` in the user's folder for configuration of blobdir."""
    given = os.environ.get("BLOBDIR_CONFIG")
    return Path(given) if given else user_config_path("blobdir") / "config.toml"


def read_config() -> dict[str, Any]:
    """What the configuration file says; empty where there is none.

    Raises
    ------
    UsageError
        It isn't TOML, or has a table or key that means nothing.
    """
    path = config_file()
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = tomllib.load(file)
    except FileNotFoundError:
        if "BLOBDIR_CONFIG" in os.environ:
            raise UsageError(f"{path}: doesn't exist; BLOBDIR_CONFIG names it") from None
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    storage, cache = found.get("storage", {}), found.get("cache", {})
    if not isinstance(storage, dict) or not isinstance(cache, dict):
        raise UsageError(f"{path}: storage and cache must be tables")
    unknown = [*(found.keys() - _KNOWN), *(f"cache.{key}" for key in cache.keys() - _CACHE)]
    unknown += [f"storage.{key}" for key, value in storage.items() if not isinstance(value, dict)]
    if unknown:
        raise UsageError(
            f'{path}: {min(unknown)} means nothing; there are [storage."URL"] and [cache] with dir and size'
        )
    if storage and mode & _OTHERS:
        warnings.warn(
            f"{path}: others may read it, and credentials may stand in it; chmod 600 {path}",
            BlobdirWarning,
            stacklevel=2,
        )
    return found


def storage_options(url: str, given: dict[str, Any] | None) -> dict[str, Any]:
    """Options for the storage of a URL: those of the configuration file, and over them those that were given.

    Web servers are asked through the proxy that the environment names (``http_proxy``, ``no_proxy`` …), unless they are
    on this machine, as by other programs and other backends.
    """
    tables: dict[str, dict[str, Any]] = read_config().get("storage", {})
    fitting = [place for place in tables if _is_below(url, place)]
    options = {**(tables[max(fitting, key=len)] if fitting else {}), **(given or {})}
    chain, _, last = url.rpartition("::")
    protocol = last.partition("://")[0]
    if protocol in ("http", "https") and (proxy := _proxy_of(protocol, last)):
        own = dict(options.get(protocol) or {}) if chain else options
        own["client_kwargs"] = {"proxy": proxy, **(own.get("client_kwargs") or {})}
        options |= {protocol: own} if chain else {}
    return options


def _proxy_of(protocol: str, url: str) -> str:
    """The URL of the proxy for a web server; empty where there is none.

    aiohttp would look for it itself, but then in ``~/.netrc`` as well, for credentials that nobody has asked for.

    Raises
    ------
    UsageError
        It's of a kind that can't be used. Where it's for all protocols, nobody may have meant this one.
    """
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port or _PORTS[protocol]
    except ValueError:
        return ""
    is_here = host == "localhost" or host.startswith("127.") or host in ("::1", "0:0:0:0:0:0:0:1")
    known = getproxies()
    proxy = known.get(protocol) or known.get("all") or ""
    if not proxy or is_here or proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if proxy.partition("://")[0].lower() in ("http", "https"):
        return proxy
    if protocol in known:
        raise UsageError(
            f"{protocol}_proxy: {without_secrets(proxy)} isn't a proxy of the kind http:// or https://; give another "
            "one, or except the server by no_proxy"
        )
    return ""


def _is_below(url: str, place: str) -> bool:
    """Whether a URL is a place or below it: options for one host mustn't go to another whose name begins alike."""
    rest = url.removeprefix(place)
    return url.startswith(place) and (not rest or place.endswith("/") or rest[0] in "/?")


def cache_setting(name: str) -> Any:
    """``dir`` or ``size`` of the cache, as the configuration file has it; None where it doesn't."""
    return read_config().get("cache", {}).get(name)
