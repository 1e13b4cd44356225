"""The gateway's own version."""

VERSION = "0.2.0"
