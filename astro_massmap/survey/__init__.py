"""Maps of wide surveys: overlapping fields, one for each HEALPix cell, and their maps on the sphere."""
