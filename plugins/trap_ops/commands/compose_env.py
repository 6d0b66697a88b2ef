"""``trap-manage compose-env``: passwords and keys for docker-compose.yaml, each of them new."""

from __future__ import annotations

import argparse
import base64
import os
import secrets
from pathlib import Path
from typing import Any

from trap_ops.commands.environment import CHECKOUT
from trap_ops.errors import ConfigError

_PASSWORDS = ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD", "ADMIN_PASSWORD")
_KEYS = ("API_SECRET_KEY", "JWT_SECRET")
_TEXT = """\
# For docker-compose.yaml, made by `make compose-env`. Keep it, and keep it to yourself: without it
# the databases cannot be opened any more.
{secrets}

# Where the images are on this host; the services see them, read only, in /data.
IMAGES_DIR={images}

# The broker, and the profile that starts it; without a "#" the second pair is Redis.
COMPOSE_PROFILES=rabbitmq
CLUSTER_BROKER=amqp://trap:{rabbitmq}@rabbitmq:5672/trap
#COMPOSE_PROFILES=redis
#CLUSTER_BROKER=redis://:{redis}@redis:6379/0

# The results. Another database may be named, which all services reach.
RESULTS_DB=postgresql://trap:{postgres}@postgres:5432/results

# Pages are for this host only; 0.0.0.0 lets others see them: behind a server that encrypts, please.
TRAP_LISTEN=127.0.0.1
"""


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "compose-env",
        help="write passwords and keys for docker-compose.yaml",
        description="Write the file .env beside docker-compose.yaml, with new random passwords and "
        "keys. A file that is there is never replaced.",
    )
    parser.add_argument("--images", default="/data", help="where the images are on this host")
    parser.add_argument("--output", type=Path, default=CHECKOUT / ".env", help="another file")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    made = {name: secrets.token_hex(24) for name in _PASSWORDS}
    # HS512 wants 64 bytes.
    made |= {name: secrets.token_hex(64) for name in _KEYS}
    made["FERNET_KEY"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    text = _TEXT.format(
        secrets="\n".join(f"{name}={value}" for name, value in made.items()),
        images=arguments.images,
        **{name: made[f"{name.upper()}_PASSWORD"] for name in ("rabbitmq", "redis", "postgres")},
    )
    try:
        descriptor = os.open(arguments.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        msg = (
            f"{arguments.output} is there already, with the passwords of your databases; it stays "
            "as it is"
        )
        raise ConfigError(msg) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    print(f"{arguments.output} has new passwords and keys; check IMAGES_DIR in it")
    return 0
