"""An export as a test reads it: whole."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.preferences.export import Progress, stream
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter


def exported(session: Session, shape: Shape, form: Format, wanted: ExportFilter) -> tuple[bytes, int]:
    """The file, and how many rows it was said to have."""
    progress = Progress()
    return b"".join(stream(session, shape, form, wanted, progress)), progress.rows
