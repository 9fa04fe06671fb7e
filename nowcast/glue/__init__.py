"""GLUE: sentences and pairs of sentences in, a class or a score out."""
