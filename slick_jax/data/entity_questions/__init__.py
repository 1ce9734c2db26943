"""EntityQuestions (Sciavolino et al. 2021) cut the way the paper does (section 2 and appendix A).

`relations` names the relations and their question templates, `sources` reads the published files, `preparation` applies
the rules.
"""
