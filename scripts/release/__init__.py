"""The weights that come with nowcast: what they are trained and scored on, how, and their cards."""
