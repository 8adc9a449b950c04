"""Maps of wide surveys: overlapping tangential fields, one for each HEALPix cell, and their maps on the sphere."""
