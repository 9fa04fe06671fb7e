"""The study of MEmeL, its follow-ups and its controls: what docs/study.md lays down, run."""
