"""The engine, file for file; its rules are those of RFC 5321 unless another is named."""
