"""Precipitation nowcasting: radar echoes in, the next hour or two of radar echoes out."""
