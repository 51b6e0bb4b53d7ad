"""What is recorded, and where: ``--transcripts`` and its kin."""

from __future__ import annotations

from smtpcb.run.options import Configuration, ConfigurationError
from smtpcb.transcript import TranscriptSettings


def transcripts_of(configuration: Configuration, *, wanted: bool) -> TranscriptSettings | None:
    """
    Return what is recorded, or ``None``.

    :param wanted: whether the handler would like it.
    :raises ConfigurationError: two settings contradict each other.
    """
    folder = configuration["transcripts"]
    if configuration["no_transcripts"]:
        if folder is not None:
            both = (
                f"{configuration.where('transcripts')} and {configuration.where('no_transcripts')}"
            )
            raise ConfigurationError(f"{both} exclude each other")
        return None
    if folder is None:
        if not wanted:
            return None
        folder = configuration["state"] / "transcripts"
    return TranscriptSettings(
        folder,
        content=configuration["transcript_content"],
        sessions=configuration["transcript_sessions"],
        keep_days=configuration["transcript_days"],
        keep_octets=configuration["transcript_octets"],
        keep_files=configuration["transcript_files"],
    )


def transcripts_named(configuration: Configuration) -> str:
    """Return the setting that says where they are."""
    folder = configuration["transcripts"]
    if folder is None:
        return f"{configuration.where('state')} {configuration['state']}"
    return f"{configuration.where('transcripts')} {folder}"
