"""Sections: each has words of its own, and the music flows from one to the next."""

from musicgen_service.analysis.midi import Marker
from musicgen_service.paths.job import Job
from musicgen_service.paths.windows import Wording


def wordings(job: Job, first: int = 0) -> tuple[Wording, ...]:
    """Return the texts of the request's sections, from the frames that they start at; none without sections.

    Parameters
    ----------
    first : frame at which the first section starts
    """
    request, rate = job.request, job.model.frame_rate
    has_chords = request.text_chords is not None or request.audio_chords is not None
    return tuple(
        Wording(
            # From the start in seconds each time: lengths that are added up in frames would drift.
            first + round(section.start * rate),
            *request.described(section),
            is_free=not has_chords and section.chords is None,
        )
        for section in request.parts
    )


def markers(job: Job) -> tuple[Marker, ...]:
    """Return where the request's sections start in a clip; none without sections."""
    return tuple(Marker(start, name) for name, start, _ in job.request.section_times)
