"""From finished runs to the study's answers: curves, regression, tables, figures and one self-contained HTML page.

`runs` reads a run folder and says what is missing, `comparable` which runs may be pooled, `curves`, `tables` and
`regression` compute, `figures` draws with the colours of `palette`, `gallery` adds captions, `headline` puts it in
words, `report` writes.
"""
