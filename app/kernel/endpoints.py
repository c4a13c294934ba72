"""What an operator says of the endpoints and servers that Corral asks beside its own engine."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Endpoint(BaseModel):
    """Another OpenAI-compatible endpoint: who may be asked beside the engine is the operator's to say, keys included."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")
    """Up to and with ``/v1``."""
    key: SecretStr = SecretStr("")
    """Sent as a bearer token."""
    concurrency: int = Field(default=4, ge=1)
    """Requests in flight from one worker."""


class ToolServer(BaseModel):
    """A server of tools (MCP over streamable HTTP) that prompts may name: which ones are called is the operator's to say."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$")
    """Its one address, without a name and password in it; where it sends callers on to is not followed."""
    key: SecretStr = SecretStr("")
    """Sent as a bearer token."""
    seconds: float = Field(default=20.0, gt=0, le=60)
    """For one call, its answer included."""
