"""From finished runs to the study's answers: statistics, tables, figures, findings and one self-contained HTML page.

`runs`, `outcomes` and `annotated` read a run folder and say what is missing, `comparable` which runs may be pooled.
`bootstrap`, `evidence`, `fitting`, `significance`, `regression`, `single_categories`, `idk`, `recipes`,
`unknown_tests`, `shift`, `explosions`, `curves` and `tables` compute; `findings` and `verdicts` say what holds.
`*figures` draw on `canvas` with the colours of `palette`, `gallery` adds captions, `sections` and `headline` put it in
words, `report` writes.
"""
