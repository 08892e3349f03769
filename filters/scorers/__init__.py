"""What scores pictures and clips: embedded measures, and engines on models that are brought along."""
