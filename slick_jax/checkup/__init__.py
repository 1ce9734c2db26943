"""The doctor: a file of rows and a model in; what the model knows, what to do about it, and treated rows out.

`command` is `slick doctor`. `intake` reads the rows, `dry_run` shows the work before it is done; `shares`, `groups` and
`answers` compute, `diagnosis` puts it together, `advice` has the rules; `treated` writes the rows, `page` shows it all.
"""
