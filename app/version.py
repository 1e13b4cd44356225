"""Version of the gateway."""

VERSION = "0.2.0"
