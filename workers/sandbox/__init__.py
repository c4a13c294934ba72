"""Runs code that nobody has read: bounded in time, memory, files and what it can see."""

from workers.sandbox.choose import find_sandbox
from workers.sandbox.protocol import Box, Limits, NoSandbox, Result, Sandbox, SandboxAway, Stopped

__all__ = ["Box", "Limits", "NoSandbox", "Result", "Sandbox", "SandboxAway", "Stopped", "find_sandbox"]
