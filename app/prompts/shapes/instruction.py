"""An instruction with its input and output (Alpaca), or with ``instances`` of them (Self-Instruct)."""

from __future__ import annotations

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused
from app.prompts.fields import Record, text, text_or_number, user
from app.prompts.messages import Message
from app.prompts.shapes import Read

OTHER_INSTANCES = N_(
    "The instruction comes with several inputs. The first is imported; the others are kept in metadata as instances."
)


def _read(record: Record, key: str) -> list[Message]:
    instruction = text(record.take(key), key)
    source = record
    instances = record.take("instances")
    if instances is not None:
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise Refused(
                N_('has "instances" that are not a list of {"input", "output"} objects: correct or remove them')
            )
        source = Record(dict(instances[0]))
        if instances[1:]:
            record.rest["instances"] = instances[1:]
            record.note = OTHER_INSTANCES
    given = source.take("input")
    record.reference = text_or_number(source.take("output"), "output")
    if source is not record:
        for name, value in source.rest.items():
            record.keep(name, value)
    return [user(instruction if given is None else f"{instruction}\n\n{text(given, 'input')}")]


SHAPE = Read(name="Instruction", keys=("instruction",), read=_read, is_task=True, place=20)
