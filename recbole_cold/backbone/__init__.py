"""Click models of the published comparisons that RecBole lacks: one file each, found by name.

Every class is a RecBole ``ContextRecommender``, usable in RecBole's own runner too.
"""
