"""Find near-duplicates: a photo resized, re-encoded, brightened, mirrored, turned, cropped, or with a mask pasted on.

Two steps, as in image retrieval. Candidates are photos that share local features: SIFT [1]_, made binary by the signs
of random projections [2]_, so that equal keys in one sorted table find them. Then each candidate is verified:
the transform on which most shared features agree must lay one photo on the other so that the local correlation of what
both show is high. Two photos of one person fail that, and so does one background behind two people.

.. [1] D. G. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004.
.. [2] M. S. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002.
.. [3] J. Sivic, A. Zisserman, "Video Google: a text retrieval approach to object matching in videos", ICCV 2003.
.. [4] H. Jegou, M. Douze, C. Schmid, "Hamming embedding and weak geometric consistency for large scale image search",
   ECCV 2008.
"""
