"""How the moderator's clients say what they ask for and how long they wait: headers that other services ignore."""

from __future__ import annotations

PURPOSE = "kinema-purpose"
SCREENING = "screening"  # a video waits for this answer; whatever does not say so is advice
SECONDS = "kinema-timeout-seconds"  # after which nobody is there to read the answer
