"""Secrets of one installation on this machine, each in a file that only its owner reads; made when first asked for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.settings import Settings

LEAST = 32
SIGNING, LOCAL = "signing.key", "local.token"


def signing_key(settings: Settings) -> str:
    """What signs sessions.  Raises ConfigError."""
    if settings.session_key and len(settings.session_key) < LEAST:
        raise ConfigError(f"ACTIVITY_SESSION_KEY is too short; give it at least {LEAST} random characters")
    return settings.session_key or _secret(settings, SIGNING)


def local_token(settings: Settings) -> str:
    """What the command line on this machine shows the service: whoever can read this file may do everything.  Raises ConfigError."""
    return _secret(settings, LOCAL)


def _secret(settings: Settings, name: str) -> str:
    path: Path = settings.data / "access" / name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f"{name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as out:
            out.write(secrets.token_urlsafe(32))
        try:
            os.link(fresh, path)  # the first one wins, and nobody sees half a secret
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be used ({error.strerror}); let the user of the service own {path.parent}"
        ) from None
