"""What holds an engine to calls that can be read: once a model begins one, its name and arguments keep to a tool's schema.

It is a structural tag as vLLM takes it (``structured_outputs``): whatever a model says beside calls stays free, and so does
whether it calls anything. It fits models that write ``<tool_call>{…}</tool_call>`` (Hermes and Qwen), and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from workers.tools.schemas import BadSchema, function_of, schema_of

TRIGGER: Final = "<tool_call>"


def structural_tag(tools: Sequence[Any]) -> str | None:
    """The tag as JSON text; None where a tool has no name or no schema."""
    try:
        tags = [_tag(tool) for tool in tools if isinstance(tool, Mapping)]
    except BadSchema:
        return None
    if not tags or len(tags) < len(tools):
        return None
    return json.dumps(
        {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": [TRIGGER], "tags": tags}}
    )


def _tag(tool: Mapping[str, Any]) -> dict[str, Any]:
    name = json.dumps(function_of(tool)["name"], ensure_ascii=False)
    return {
        "begin": f'{TRIGGER}\n{{"name": {name}, "arguments": ',
        "content": {"type": "json_schema", "json_schema": schema_of(tool)},
        "end": "}\n</tool_call>",
    }
