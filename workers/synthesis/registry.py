"""The generators by name. A new one is one file in this folder, one line here and one in ``app/synthesis/catalogue.py``."""

from __future__ import annotations

from typing import Final

from workers.registries import Registry
from workers.synthesis.protocol import Generator

GENERATORS: Final[Registry[Generator]] = Registry("generator", "workers.synthesis")
GENERATORS.register("arithmetic", "arithmetic:Arithmetic")
GENERATORS.register("format_rules", "format_rules:FormatRules")
GENERATORS.register("reasoning_gym", "gym:Gym")
GENERATORS.register("needle", "needle:Needle")
GENERATORS.register("document_questions", "document_questions:DocumentQuestions")
GENERATORS.register("document_summaries", "document_summaries:DocumentSummaries")
GENERATORS.register("facts", "facts:Facts")
GENERATORS.register("repository", "repository:Repository")
GENERATORS.register("code_examples", "code_examples:CodeExamples")
GENERATORS.register("translation", "translation:Translation")

names = GENERATORS.names
find = GENERATORS.find
